package claim

var english = Language{
	Tag: "en", Name: "English", Point: ".",

	Day:     "on {first}, ",
	AnyDay:  "on a day, ",
	Days:    "on at least {dayk} of the {days} days from {first}, ",
	AnyDays: "on at least {dayk} of {days} days in a row, ",

	Within:   "{metric} was between {lo} and {hi} {unit} in at least {k} of the {minutes} minutes {hours}",
	Outside:  "{metric} was below {lo} or above {hi} {unit} in at most {out} of the {minutes} minutes {hours}",
	Measured: "{metric} was measured in at least {count} of the {minutes} minutes {hours}",

	AndOutside:  ", and outside of that in at most {out}",
	AndMeasured: ", with at least {count} measured",

	MeanWithin:  "; the mean over all the time was between {mean_lo} and {mean_hi} {unit}",
	MeanLeast:   "; the mean over all the time was at least {mean_lo} {unit}",
	MeanMost:    "; the mean over all the time was at most {mean_hi} {unit}",
	TrendWithin: "; the mean of the second half of the time minus that of the first was between {trend_lo} and {trend_hi} {unit}",
	TrendLeast:  "; the mean of the second half of the time minus that of the first was at least {trend_lo} {unit}",
	TrendMost:   "; the mean of the second half of the time minus that of the first was at most {trend_hi} {unit}",
	Halves:      "; each half has at least {half} minutes measured",

	And: " and ", EachDay: " of each day",
	Metrics: map[string]string{
		"heart_rate": "heart rate", "pulse_rate": "pulse rate", "resp_rate": "respiratory rate",
		"spo2": "oxygen saturation", "body_temp": "body temperature", "skin_temp": "skin temperature",
		"bp_systolic": "systolic blood pressure", "bp_diastolic": "diastolic blood pressure",
		"glucose": "blood glucose", "storage_temp": "storage temperature",
	},
}
