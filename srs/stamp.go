package srs

import "time"

const (
	base32Digits  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	daysInCycle   = 1024 // what two base32 digits can count
	secondsPerDay = 86400
)

// stampValue is a digit's value in either case, or -1.
var stampValue = func() (t [256]int8) {
	for c := range t {
		t[c] = -1
	}
	for v, c := range []byte(base32Digits) {
		t[c] = int8(v)
		t[lower[c]] = int8(v)
	}
	return t
}()

// today is the day number modulo the cycle, also for a clock before 1970.
func today(now time.Time) int {
	seconds := now.Unix()
	day := seconds / secondsPerDay
	if seconds%secondsPerDay < 0 {
		day--
	}
	return int(day & (daysInCycle - 1))
}

func appendStamp(dst []byte, day int) []byte {
	return append(dst, base32Digits[day>>5], base32Digits[day&31])
}

// checkStamp tells whether the stamp is of the last maxAge days.
func checkStamp(stamp []byte, day, maxAge int) error {
	age, err := stampAge(stamp, day)
	if err == nil && age > maxAge {
		return ErrExpired
	}
	return err
}

// stampAge is how many days before day the stamp was written. It bounds the
// stamp before it looks at a digit: it is not yet authenticated and may be as
// long as the sender liked. A stamp in the future is one of the last cycle.
func stampAge(stamp []byte, day int) (int, error) {
	if len(stamp) != 2 {
		return 0, ErrExpired
	}
	high, low := stampValue[stamp[0]], stampValue[stamp[1]]
	if high < 0 || low < 0 {
		return 0, ErrBadStamp
	}
	signed := int(high)<<5 | int(low)
	if day < signed {
		day += daysInCycle
	}
	return day - signed, nil
}
