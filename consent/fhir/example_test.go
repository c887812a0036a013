package fhir_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/consent/fhir"
	"github.com/vitalveil/vitalveil/internal/record"
)

var document = consent.Document{
	ID: record.SumID([]byte("a consent")), Version: 1, Patient: record.SumID([]byte("a patient")),
	Grantee: "HospitalA", Purpose: "HRESCH", Status: consent.StatusActive, Effect: consent.EffectPermit,
	Operations: []string{consent.OpAggregate}, Metrics: []string{"heart_rate"},
	DataFrom: 482136, DataUntil: 482880, NotBefore: 1735689600, Expires: 1767225600, CapMicro: 500_000,
}

// A document becomes a resource, and that the same document.
func ExampleWrite() {
	resource, err := fhir.Write(document)
	if err != nil {
		fmt.Println(err)
		return
	}
	var r struct {
		Status     string
		PolicyRule struct{ Coding []struct{ Code string } }
		Provision  struct {
			Provision []struct{ Period struct{ Start, End string } }
		}
	}
	if err := json.Unmarshal(resource, &r); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Status, r.PolicyRule.Coding[0].Code, r.Provision.Provision[0].Period)
	back, err := fhir.Read(resource)
	fmt.Println(back.Digest("trial") == document.Digest("trial"), err)
	// Output:
	// active OPTOUT {2025-01-01T00:00:00Z 2025-12-31T23:59:59Z}
	// true <nil>
}

// What has no place in a document here is refused by its path.
func ExampleRead() {
	resource, err := fhir.Write(document)
	if err != nil {
		fmt.Println(err)
		return
	}
	other := strings.Replace(string(resource), `"type":"permit"`, `"type":"permit","securityLabel":[{"code":"R"}]`, 1)
	_, err = fhir.Read([]byte(other))
	var refused fhir.ElementErrors
	if errors.As(err, &refused) {
		fmt.Println(refused[0].Element, refused[0].Problem)
	}
	// Output:
	// Consent.provision.provision[0].securityLabel is nothing that a consent here can honour
}
