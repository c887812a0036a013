package claim

var german = Language{
	Tag: "de", Name: "Deutsch", Point: ",",

	Day:     "am {first} ",
	AnyDay:  "an einem Tag ",
	Days:    "an mindestens {dayk} der {days} Tage ab {first} ",
	AnyDays: "an mindestens {dayk} von {days} Tagen in Folge ",

	Within:   "lag {metric} in mindestens {k} der {minutes} Minuten {hours} zwischen {lo} und {hi} {unit}",
	Outside:  "lag {metric} in höchstens {out} der {minutes} Minuten {hours} unter {lo} oder über {hi} {unit}",
	Measured: "wurde {metric} in mindestens {count} der {minutes} Minuten {hours} gemessen",

	AndOutside:  ", und in höchstens {out} außerhalb davon",
	AndMeasured: ", bei mindestens {count} gemessenen",

	MeanWithin:  "; der Mittelwert über die ganze Zeit lag zwischen {mean_lo} und {mean_hi} {unit}",
	MeanLeast:   "; der Mittelwert über die ganze Zeit war mindestens {mean_lo} {unit}",
	MeanMost:    "; der Mittelwert über die ganze Zeit war höchstens {mean_hi} {unit}",
	TrendWithin: "; der Mittelwert der zweiten Hälfte der Zeit abzüglich dessen der ersten lag zwischen {trend_lo} und {trend_hi} {unit}",
	TrendLeast:  "; der Mittelwert der zweiten Hälfte der Zeit abzüglich dessen der ersten war mindestens {trend_lo} {unit}",
	TrendMost:   "; der Mittelwert der zweiten Hälfte der Zeit abzüglich dessen der ersten war höchstens {trend_hi} {unit}",
	Halves:      "; in jeder Hälfte sind mindestens {half} Minuten gemessen",

	And: " und ", EachDay: " jedes Tages",
	Metrics: map[string]string{
		"heart_rate": "die Herzfrequenz", "pulse_rate": "die Pulsfrequenz", "resp_rate": "die Atemfrequenz",
		"spo2": "die Sauerstoffsättigung", "body_temp": "die Körpertemperatur", "skin_temp": "die Hauttemperatur",
		"bp_systolic": "der systolische Blutdruck", "bp_diastolic": "der diastolische Blutdruck",
		"glucose": "der Blutzucker", "storage_temp": "die Lagertemperatur",
	},
}
