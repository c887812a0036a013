module github.com/vitalveil/vitalveil/internal/blob/peers

go 1.26.0

require github.com/johannesboyne/gofakes3 v1.2.0 // S3 in memory

require (
	github.com/ryszard/goskiplist v0.0.0-20150312221310-2dfbae5fcf46 // indirect
	go.shabbyrobe.org/gocovmerge v0.0.0-20230507111327-fa4f82cfbf4d // indirect
	golang.org/x/tools v0.8.0 // indirect
)
