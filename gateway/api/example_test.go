package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/record"
)

// A patient for whom the association has vouched enrols, consents to a study of its
// hospital, and waits until the ledger has each. Enrolment needs no signature of the
// request, since the document carries all that counts; what a patient reads is signed.
func ExampleClient() {
	const network = "example"
	gateway := httptest.NewServer(standIn())
	defer gateway.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	enrolment := record.EnrolPatient{Inception: record.Inception{
		ConsentKeys:  [][]byte{record.PublicKeyBytes(&key.PublicKey)},
		RecoveryHash: record.RandomID(), Salt: record.RandomID(), DetailsKey: record.RandomID(),
	}}
	boxes := []byte("the details key, sealed to the members")
	enrolment.DetailsBlob = record.SumID(boxes)
	enrolment.Signature = must(record.Sign(key, enrolment.Digest(network)))
	patient := enrolment.Inception.PatientID(network)

	client := api.NewClient(gateway.URL, network, &api.Signer{Party: api.PatientParty(patient), Key: key})
	defer client.Close()
	op := must(client.EnrolPatient(ctx, enrolment, boxes))
	op = must(client.Wait(ctx, op))
	fmt.Println(op.Kind, op.Done)

	now := time.Now().Unix()
	document := consent.Document{
		ID: record.RandomID(), Version: 1, Patient: patient, Grantee: "HospitalA", Purpose: "HRESCH",
		Status: consent.StatusActive, Effect: consent.EffectPermit,
		Operations: []string{consent.OpAggregate}, Metrics: []string{"heart_rate"},
		DataFrom: now / 3600, DataUntil: now/3600 + 24*90,
		NotBefore: now, Expires: now + 86400*365, CapMicro: 1_000_000,
	}
	op = must(client.PutConsent(ctx, consent.Signed{
		Document: document, Key: record.PublicKeyBytes(&key.PublicKey),
		Signature: must(record.Sign(key, document.Digest(network))),
	}))
	op = must(client.Wait(ctx, op))
	fmt.Println(op.Kind, op.Done)
	// Output:
	// enrol_patient true
	// put_consent true
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// standIn answers as a gateway does whose ledger takes everything.
func standIn() http.Handler {
	mux := http.NewServeMux()
	kinds := map[string]string{} // by operation; the client asks one after the other
	accept := func(kind string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			document := must(io.ReadAll(r.Body))
			id := record.SumID(document).String()
			kinds[id] = kind
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprintf(w, `{"id":%q,"kind":%q,"done":false}`, id, kind)
		}
	}
	mux.Handle("POST /v1/patients", accept("enrol_patient"))
	mux.Handle("POST /v1/consents", accept("put_consent"))
	mux.HandleFunc("GET /v1/operations/{operation}", func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimSuffix(r.PathValue("operation"), ":watch")
		fmt.Fprintf(w, "data: {\"id\":%q,\"kind\":%q,\"done\":true}\n\n", id, kinds[id])
	})
	return mux
}
