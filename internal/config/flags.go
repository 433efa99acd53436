package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pborman/getopt/v2"
)

// use is one flag as it was given.
type use struct {
	setting *Setting
	name    string // as written, with its dashes
	value   string // the argument; for a flag without one its letter
}

// recorder is the getopt.Value that notes the uses of one flag, in the order given.
type recorder struct {
	setting *Setting
	uses    *[]use
}

func (r *recorder) String() string { return "" }

func (r *recorder) Set(value string, o getopt.Option) error {
	// Two leniencies of the library that getopt_long(3) does not have: --A for
	// -A, and --help=value.
	if strings.HasPrefix(o.Name(), "--") && r.setting.Long == "" {
		return fmt.Errorf("unrecognized option '--%s' (--help lists all)", r.setting.Short)
	}
	if r.setting.Arg == "" {
		if value != "" {
			return fmt.Errorf("option '%s' takes no argument", o.Name())
		}
		value = r.setting.Short
	}
	*r.uses = append(*r.uses, use{r.setting, o.Name(), value})
	return nil
}

// parseFlags reads a command line, without the program's name, as
// getopt_long(3) does where POSIXLY_CORRECT is set: values attached or not,
// letters clustered, -- and the first argument that is no flag end the flags.
// Long options are not abbreviated. ErrHelp and ErrVersion come before errors
// further right.
func parseFlags(args []string) ([]use, error) {
	var uses []use
	set := flagSet(&uses)
	if err := parseWith(set, args); err != nil {
		return nil, err
	}
	if rest := set.Args(); len(rest) > 0 {
		return nil, fmt.Errorf("extra argument on command line: %s", printable(rest[0]))
	}
	return uses, nil
}

// flagSet has the flags of Settings, whose uses it notes.
func flagSet(uses *[]use) *getopt.Set {
	set := getopt.New()
	for i := range Settings {
		s := &Settings[i]
		if s.Short == "" && s.Long == "" {
			continue
		}
		var short rune
		if s.Short != "" {
			short = rune(s.Short[0])
		}
		o := set.FlagLong(&recorder{s, uses}, s.Long, short)
		if s.Arg == "" {
			o.SetFlag()
		} else if s.Optional {
			o.SetOptional()
		}
	}
	return set
}

// parseWith reads flags as far as they go; set.Args are what is left.
func parseWith(set *getopt.Set, args []string) error {
	var asked error
	err := set.Getopt(append([]string{"postsrsd"}, args...), func(o getopt.Option) bool {
		switch o.LongName() {
		case "help":
			asked = ErrHelp
		case "version":
			asked = ErrVersion
		}
		return asked == nil
	})
	if asked != nil {
		return asked
	}
	var wrong *getopt.Error
	if errors.As(err, &wrong) {
		return explain(wrong)
	}
	return err
}

// explain words what the library found wrong as getopt(3) does.
func explain(e *getopt.Error) error {
	if long, ok := strings.CutPrefix(e.Name, "--"); ok {
		switch e.ErrorCode {
		case getopt.UnknownOption:
			return fmt.Errorf("unrecognized option '--%s' (--help lists all)", printable(long))
		case getopt.MissingParameter:
			return fmt.Errorf("option '--%s' requires an argument", long)
		}
		return e.Err
	}
	letter := strings.TrimPrefix(e.Name, "-")
	if letter == "" {
		letter = "-"
	}
	switch e.ErrorCode {
	case getopt.UnknownOption:
		return fmt.Errorf("invalid option -- '%s' (--help lists all)", printable(letter))
	case getopt.MissingParameter:
		return fmt.Errorf("option requires an argument -- '%s'", letter)
	}
	return e.Err
}
