//go:build postfix

package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"

	"postsrsd/internal/check"
	"postsrsd/internal/config"
)

// TestCheckMilter has real configuration directories in which Postfix asks the
// milter and the tables, and such in which it asks one of them.
func TestCheckMilter(t *testing.T) {
	for _, test := range []struct {
		name, milter string
		change       map[string]string
		master       string   // added
		want         []string // where both are asked
		lost         []string // where bounces are lost
	}{
		{name: "on a port", milter: "inet:localhost:10003", change: map[string]string{"smtpd_milters": "inet:127.0.0.1:11332, inet:localhost:10003"},
			want: []string{"$D/main.cf: smtpd_milters"}},
		{name: "for both kinds of mail", milter: "inet:10003", change: map[string]string{"smtpd_milters": "{ inet:localhost:10003, default_action = accept }", "non_smtpd_milters": "$smtpd_milters"},
			want: []string{"$D/main.cf: smtpd_milters", "$D/main.cf: non_smtpd_milters"}},
		{name: "on a unix socket in the queue directory", milter: "unix:$D/queue/milter", change: map[string]string{"smtpd_milters": "unix:milter"},
			want: []string{"$D/main.cf: smtpd_milters"}},
		{name: "on a unix socket", milter: "unix:$D/milter", change: map[string]string{"non_smtpd_milters": "unix:$D/milter"},
			want: []string{"$D/main.cf: non_smtpd_milters"}},
		{name: "of one service", milter: "inet:localhost:10003", master: "submission inet n - n - - smtpd -o smtpd_milters=inet:localhost:10003\n",
			want: []string{"master.cf: submission/inet: smtpd_milters"}},
		{name: "without original recipients", milter: "inet:localhost:10003", change: map[string]string{
			"smtpd_milters": "inet:localhost:10003", "sender_canonical_maps": "-", "enable_original_recipient": "no"},
			lost: []string{"$D/main.cf: smtpd_milters"}},
		{name: "without original recipients, but the table", milter: "inet:localhost:10003", change: map[string]string{
			"smtpd_milters": "inet:localhost:10003", "sender_canonical_maps": "-", "recipient_canonical_maps": "-", "enable_original_recipient": "no"}},
		{name: "no milter here", change: map[string]string{"smtpd_milters": "inet:localhost:10003"}},
		{name: "another milter", milter: "inet:localhost:10003", change: map[string]string{"smtpd_milters": "inet:localhost:10004 unix:milter"}},
		{name: "milter alone", milter: "inet:localhost:10003", change: map[string]string{
			"smtpd_milters": "inet:localhost:10003", "sender_canonical_maps": "-", "recipient_canonical_maps": "-"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			os.Mkdir(dir+"/queue", 0o755)
			params := soundMain(&daemon{forwardPort: "10001", reversePort: "10002"})
			params["queue_directory"] = "$D/queue"
			for name, value := range test.change {
				params[name] = value
			}
			writeConfig(t, dir, params, soundMaster+test.master, nil)
			t.Setenv("MAIL_CONFIG", dir)
			o := check.Options{Skip: map[string]bool{check.Settings: true, check.DNS: true}}
			o.Config, _ = config.Survey([]string{"-d", "example.com"}, nil)
			if test.milter != "" {
				var err error
				if o.Milter, err = config.ParseEndpoint(strings.ReplaceAll(test.milter, "$D", dir)); err != nil {
					t.Fatal(err)
				}
			}
			var got, lost []string
			for _, f := range check.Run(t.Context(), o) {
				if strings.Contains(f.What, "both rewrite") && f.Level == check.Warning {
					got = append(got, strings.ReplaceAll(f.Where, dir, "$D"))
				}
				if strings.Contains(f.What, "bounces are lost") && f.Level == check.Error {
					lost = append(lost, strings.ReplaceAll(f.Where, dir, "$D"))
				}
			}
			if !slices.Equal(got, test.want) || !slices.Equal(lost, test.lost) {
				t.Errorf("%q, want %q; bounces lost by %q, want %q", got, test.want, lost, test.lost)
			}
		})
	}
}
