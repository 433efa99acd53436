package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pborman/getopt/v2"
)

// Arguments is the command line of a command that takes the daemon's flags,
// such as check: those, its own options, and the operands.
type Arguments struct {
	Flags    []string            // the daemon's flags, for Load
	Own      map[string][]string // values of own options, "" for one without
	Operands []string
}

// Has says whether an own option was given.
func (a Arguments) Has(name string) bool { return len(a.Own[name]) > 0 }

// ParseArguments takes a command's arguments apart. own has the names of its
// long options; one that ends in an equals sign takes a value. Unlike the
// daemon's, a command's options may also stand behind operands; what follows
// -- is operands alone. Of errors a caller tells ErrHelp and ErrVersion apart.
func ParseArguments(args []string, own ...string) (Arguments, error) {
	a := Arguments{Own: map[string][]string{}}
	for len(args) > 0 {
		var uses []use
		set := flagSet(&uses)
		for _, option := range own {
			name, takesValue := strings.CutSuffix(option, "=")
			o := set.FlagLong(&ownOption{name, takesValue, a.Own}, name, 0)
			if !takesValue {
				o.SetFlag()
			}
		}
		if err := parseWith(set, args); err != nil {
			return Arguments{}, err
		}
		for _, u := range uses {
			a.Flags = append(a.Flags, u.again()...)
		}
		args = set.Args()
		if set.State() == getopt.DashDash {
			a.Operands = append(a.Operands, args...)
			break
		}
		if len(args) > 0 {
			a.Operands, args = append(a.Operands, args[0]), args[1:]
		}
	}
	return a, nil
}

// CommandAt is the place of the first argument that is neither a flag of the
// daemon's nor a flag's value, if it is one of names. It is -1 otherwise, and
// when the flags before it are wrong or ask for help.
func CommandAt(args []string, names ...string) int {
	named := func(arg string) bool { return slices.Contains(names, arg) }
	if !slices.ContainsFunc(args, named) {
		return -1 // as on nearly every start of the daemon
	}
	var uses []use
	set := flagSet(&uses)
	if err := parseWith(set, args); err != nil || set.State() != getopt.EndOfOptions || !named(set.Arg(0)) {
		return -1
	}
	return len(args) - set.NArgs()
}

// again is a use as arguments that are read as it.
func (u use) again() []string {
	switch {
	case u.setting.Arg == "":
		return []string{u.name}
	case strings.HasPrefix(u.name, "--"):
		return []string{u.name + "=" + u.value}
	case u.setting.Optional:
		return []string{u.name + u.value}
	}
	return []string{u.name, u.value}
}

// ownOption is the getopt.Value that notes the uses of a command's option.
type ownOption struct {
	name       string
	takesValue bool
	values     map[string][]string
}

func (o *ownOption) String() string { return "" }

func (o *ownOption) Set(value string, _ getopt.Option) error {
	if !o.takesValue && value != "" {
		return fmt.Errorf("option '--%s' takes no argument", o.name)
	}
	o.values[o.name] = append(o.values[o.name], value)
	return nil
}
