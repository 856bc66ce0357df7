package tuner

import (
	"math"
	"testing"
	"time"
)

func TestForecast(t *testing.T) {
	var f Forecast
	if f.Rate() != 0 || f.Average() != 0 {
		t.Error("a rate out of nothing")
	}
	if _, _, _, ok := f.Left(1); ok {
		t.Error("an estimate out of nothing")
	}
	for i := range 41 { // 10 s at 100 bytes a second
		f.Add(time.Duration(i)*250*time.Millisecond, int64(i)*25)
	}
	if f.Rate() != 100 || f.Average() != 100 {
		t.Errorf("rate %d, average %d", f.Rate(), f.Average())
	}
	mid, lo, hi, ok := f.Left(500)
	if !ok || mid != 5*time.Second || lo != mid || hi != mid {
		t.Errorf("left %v, %v to %v, %t", mid, lo, hi, ok)
	}
	if mid, _, _, ok := f.Left(0); !ok || mid != 0 {
		t.Errorf("nothing left takes %v, %t", mid, ok)
	}
	for i := range 80 { // then nothing
		f.Add(10*time.Second+time.Duration(i+1)*250*time.Millisecond, 1000)
	}
	if _, _, _, ok := f.Left(1); ok {
		t.Error("an estimate while nothing moves")
	}
	if f.Rate() != 0 || len(f.at) > 60 {
		t.Errorf("rate %d, %d samples kept", f.Rate(), len(f.at))
	}
}

func TestForecastOfAges(t *testing.T) {
	var f Forecast
	for i := range 41 {
		f.Add(time.Duration(i)*250*time.Millisecond, int64(i))
	}
	mid, lo, hi, ok := f.Left(math.MaxInt64 / 2)
	if !ok || mid <= 0 || lo <= 0 || hi < mid || lo > mid {
		t.Errorf("left %v, %v to %v, %t", mid, lo, hi, ok)
	}
}
