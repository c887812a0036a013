package fabric

import (
	"net"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/fabric/service"
	"github.com/vitalveil/vitalveil/network/site"
)

func TestTheSamplesOfAChaincodeServiceAreRead(t *testing.T) {
	samples := filepath.Join("..", "..", "docs", "samples")
	if _, err := service.Load(filepath.Join(samples, "chaincode-minimal.json")); err != nil {
		t.Error(err)
	}
	full, err := service.Load(filepath.Join(samples, "chaincode-full.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(full)) {
		if reflect.ValueOf(full).FieldByIndex(f.Index).IsZero() {
			t.Errorf("the full sample leaves out %s", f.Name)
		}
	}
}

func TestCheckingAChaincodeServiceReadsWhatItNamesAndOpensNothing(t *testing.T) {
	ca, err := network.NewCA("HospitalA")
	if err != nil {
		t.Fatal(err)
	}
	id, err := ca.Issue("chaincode", "")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(dir, "chaincode.json")
	c := service.Config{Listen: taken.Addr().String(), ID: "vitalveil_1:hash", Certificate: "cert.pem", Key: "key.pem", ClientCA: "ca.pem"}
	if err := site.Save(file, c); err != nil {
		t.Fatal(err)
	}
	check := Chaincode{Config: file, CheckConfig: true}
	if err := check.Run(t.Context()); err != nil {
		t.Error(err)
	}
	if err := (Chaincode{Config: file}).Run(t.Context()); err == nil {
		t.Error("it serves where another program listens")
	}
	if err := os.Remove(filepath.Join(dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
	if err := check.Run(t.Context()); err == nil {
		t.Error("a key that is not there is none to serve with")
	}
}
