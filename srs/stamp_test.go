package srs

import (
	"testing"
	"time"
)

func TestToday(t *testing.T) {
	const day = secondsPerDay
	for _, test := range []struct {
		unix int64
		want int
	}{
		{0, 0},
		{day - 1, 0},
		{day, 1},
		{1024*day - 1, 1023},
		{1024 * day, 0},
		{20_000*day + 5, 20_000 % 1024},
		{-1, 1023},
		{-day, 1023},
		{-day - 1, 1022},
		{-1024 * day, 0},
		{-1024*day - 1, 1023},
	} {
		if got := today(time.Unix(test.unix, 999_999_999)); got != test.want {
			t.Errorf("%d seconds: day %d, not %d", test.unix, got, test.want)
		}
	}
}
