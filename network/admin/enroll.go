package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	clientmsp "github.com/hyperledger/fabric-sdk-go/pkg/client/msp"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/providers/msp"
	"github.com/hyperledger/fabric-sdk-go/pkg/core/config"
	"github.com/hyperledger/fabric-sdk-go/pkg/fabsdk"

	"github.com/vitalveil/vitalveil/internal/state"
)

// clientType is the role that is registered, and the OU of the certificate.
const clientType = "client"

// enrollTimeout bounds the request for the certificate.
const enrollTimeout = 30 * time.Second

type enrollCommand struct {
	Name      string `required:"" help:"Name of the client in fabric-ca and in its certificate."`
	Out       string `required:"" type:"path" help:"Directory for cert.pem and key.pem, as other programs of this project read them."`
	Registrar string `required:"" help:"Identity in fabric-ca that may register clients."`
	Secret    string `required:"" type:"existingfile" help:"File with the registrar's secret."`
}

// Run registers the client through the SDK and asks for its certificate itself:
// the SDK cannot name the organisation in the request, which identities here
// must, and would keep the key in a store of its own.
func (c enrollCommand) Run(s *session) error {
	scratch, err := os.MkdirTemp("", "vitalveil-enroll-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch) // the registrar's certificate and key
	sdk, err := c.open(s.path, s.org, scratch)
	if err != nil {
		return err
	}
	defer sdk.Close()
	provider := sdk.Context(fabsdk.WithOrg(s.org))
	client, err := provider()
	if err != nil {
		return err
	}
	org := client.EndpointConfig().NetworkConfig().Organizations[strings.ToLower(s.org)]
	if len(org.CertificateAuthorities) == 0 {
		return fmt.Errorf("the profile names no authority of %s", s.org)
	}
	ca, ok := client.IdentityConfig().CAConfig(org.CertificateAuthorities[0])
	if !ok {
		return fmt.Errorf("the profile does not describe %s", org.CertificateAuthorities[0])
	}
	registrar, err := clientmsp.New(provider, clientmsp.WithOrg(s.org))
	if err != nil {
		return err
	}
	secret, err := c.register(registrar)
	if err != nil {
		return fmt.Errorf("register %s: %w", c.Name, err)
	}
	key, request, err := newRequest(c.Name, org.MSPID)
	if err != nil {
		return err
	}
	cert, err := certify(s.ctx, ca, c.Name, secret, request)
	if err != nil {
		return fmt.Errorf("enrol %s: %w", c.Name, err)
	}
	return save(c.Out, key, cert)
}

// open opens the profile with the registrar's secret in it and with stores that
// go away: profiles on disk hold no secrets.
func (c enrollCommand) open(path, org, scratch string) (*fabsdk.FabricSDK, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	secret, err := readFile(c.Secret)
	if err != nil {
		return nil, err
	}
	var profile map[string]any
	if err := json.Unmarshal(data, &profile); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	client, _ := profile["client"].(map[string]any)
	cas, _ := profile["certificateAuthorities"].(map[string]any)
	if client == nil || len(cas) == 0 {
		return nil, fmt.Errorf("%s names no certificate authorities", path)
	}
	client["organization"] = org
	client["credentialStore"] = map[string]any{"path": scratch, "cryptoStore": map[string]any{"path": filepath.Join(scratch, "keys")}}
	for _, ca := range cas {
		if ca, ok := ca.(map[string]any); ok {
			ca["registrar"] = map[string]any{"enrollId": c.Registrar, "enrollSecret": strings.TrimSpace(string(secret))}
		}
	}
	if data, err = json.Marshal(profile); err != nil {
		return nil, err
	}
	return fabsdk.New(config.FromRaw(data, "json"))
}

// register makes the client known under a new secret, which nobody keeps. A
// client that is known already, from an enrolment that broke off, gets it too.
func (c enrollCommand) register(registrar *clientmsp.Client) (string, error) {
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	secret := hex.EncodeToString(raw)
	_, err := registrar.GetIdentity(c.Name)
	if err == nil {
		_, err = registrar.ModifyIdentity(&clientmsp.IdentityRequest{ID: c.Name, Type: clientType, Secret: secret})
		return secret, err
	}
	_, err = registrar.Register(&clientmsp.RegistrationRequest{Name: c.Name, Type: clientType, Secret: secret, MaxEnrollments: -1})
	return secret, err
}

// newRequest makes a key and the request for its certificate. Like the
// launcher's certificates it also serves TLS on loopback.
func newRequest(name, org string) (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:     pkix.Name{CommonName: name, Organization: []string{org}},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}, key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// maxAnswer bounds what fabric-ca may answer, in bytes.
const maxAnswer = 1 << 20

// answer is what fabric-ca says; other fields are not used.
type answer struct {
	Success bool
	Result  json.RawMessage // {"Cert": base64 of PEM}, or text if it was refused
	Errors  []struct{ Message string }
}

// certify exchanges a request for a certificate (PEM), as fabric-ca's enroll
// endpoint does it.
func certify(ctx context.Context, ca *msp.CAConfig, name, secret string, request []byte) ([]byte, error) {
	body, err := json.Marshal(map[string]string{"certificate_request": string(request), "caname": ca.CAName})
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for _, root := range ca.TLSCAServerCerts {
		if !roots.AppendCertsFromPEM(root) {
			return nil, errors.New("the profile's TLS root for the authority is not a certificate")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, enrollTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(ca.URL, "/")+"/api/v1/enroll", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if r.URL.Scheme != "https" {
		return nil, errors.New("the secret goes over https alone, which the profile's URL is not")
	}
	r.SetBasicAuth(name, secret)
	r.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, DisableKeepAlives: true,
	}}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	return certificateIn(data, resp.StatusCode)
}

// certificateIn reads fabric-ca's answer to a request for a certificate.
func certificateIn(data []byte, status int) ([]byte, error) {
	var a answer
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, fmt.Errorf("status %d, and no answer of fabric-ca", status)
	}
	if !a.Success || len(a.Errors) > 0 {
		return nil, fmt.Errorf("fabric-ca refuses: %v", a.Errors)
	}
	var result struct{ Cert string }
	if err := json.Unmarshal(a.Result, &result); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(result.Cert)
}

// save stores a certificate and its key in the form that network.LoadIdentity
// reads, which checks them.
func save(dir string, key *ecdsa.PrivateKey, cert []byte) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := state.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return err
	}
	return state.WriteFile(filepath.Join(dir, "cert.pem"), cert)
}
