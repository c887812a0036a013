package service

import (
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/vitalveil/vitalveil/network/site"
)

// counted is a chaincode whose calls are counted. Which function was called, and by
// whom, is not told.
type counted struct {
	shim.Chaincode
	seconds *prometheus.HistogramVec
}

func count(cc shim.Chaincode) (shim.Chaincode, *prometheus.Registry) {
	c := counted{cc, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "vitalveil", Subsystem: "chaincode", Name: "call_seconds", Help: "Calls by their outcome, and how long they took.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
	}, []string{"outcome"})}
	r := site.NewRegistry()
	r.MustRegister(c.seconds)
	return c, r
}

func (c counted) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	begun := time.Now()
	response := c.Chaincode.Invoke(stub)
	outcome := "ok"
	if response.GetStatus() >= shim.ERRORTHRESHOLD {
		outcome = "refused"
	}
	c.seconds.WithLabelValues(outcome).Observe(time.Since(begun).Seconds())
	return response
}
