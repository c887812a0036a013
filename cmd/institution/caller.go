package institution

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/institution/api"
	"github.com/vitalveil/vitalveil/network/site"
)

// Names of what belongs to the institution's interface, in its directory.
const (
	apiIdentity = "api"
	apiRoot     = "callers-root.pem"
	apiCallers  = "callers.json"
)

type callerCommand struct {
	dirFlag
	Name   string    `arg:"" help:"The caller's name: a person or a program."`
	Role   api.Role  `help:"analyst: studies, questions, answers, claims; operator: devices, votes, confirmations." enum:"analyst,operator" default:"analyst"`
	Out    site.Path `help:"The folder for the caller's certificate and key." type:"path" xor:"how"`
	Client string    `help:"The caller is a client of the token issuer, with this client_id, and gets no certificate." xor:"how"`
	Remove bool      `help:"Take the caller out of the table: from the next request on it is refused." xor:"how"`
	CA     string    `name:"ca" help:"The authority of callers' certificates, made when it is not there. Default: DIR-callers." type:"path"`
	Listen string    `help:"Where the interface will listen, if the configuration has none yet." default:"127.0.0.1:7443"`
}

// Help says what it does the first time.
func (callerCommand) Help() string {
	return `Lets somebody call the institution's own interface (docs/institution-api.md), or no more.
The first call makes an authority for callers' certificates, beside the institution's directory
and apart from the organisation's, a certificate for the server and the configuration of the interface; restart the institution
then. Later ones only change the table of callers, which a running institution follows. Keep the
authority's directory where no server runs; it is needed to make certificates only.`
}

// Run changes the table.
func (c callerCommand) Run() error {
	ca := c.CA
	if ca == "" {
		ca = filepath.Clean(c.Dir) + "-callers"
	}
	if err := checkApart(ca, c.Dir); err != nil {
		return err
	}
	if c.Out == "" && c.Client == "" && !c.Remove {
		return errors.New("say one of --out, --client and --remove")
	}
	authority, err := c.prepare(ca)
	if err != nil {
		return err
	}
	path := filepath.Join(c.Dir, apiCallers)
	var table api.Callers
	if err := site.Load(path, &table); err != nil {
		return err
	}
	before := len(table.Callers)
	table.Callers = slices.DeleteFunc(table.Callers, func(one api.Caller) bool { return one.Name == c.Name && c.Remove })
	if c.Remove && len(table.Callers) == before {
		return fmt.Errorf("there is no caller %s", c.Name)
	}
	if !c.Remove {
		one := api.Caller{Name: c.Name, Role: c.Role, Client: c.Client}
		if c.Out != "" {
			if one.Certificate, err = c.issue(authority); err != nil {
				return err
			}
		}
		table.Callers = append(table.Callers, one)
	}
	if err := table.Check(); err != nil {
		return err
	}
	return site.Save(path, table)
}

// issue makes the caller's certificate and returns its fingerprint.
func (c callerCommand) issue(ca *network.CA) (string, error) {
	id, err := ca.Issue(c.Name, string(c.Role))
	if err != nil {
		return "", err
	}
	leaf, err := id.Leaf()
	if err != nil {
		return "", err
	}
	if err := errors.Join(id.Save(string(c.Out)), state.WriteFile(filepath.Join(string(c.Out), "root.pem"), ca.RootPEM())); err != nil {
		return "", err
	}
	_, err = fmt.Printf("%s: cert.pem and key.pem of %s, root.pem to know the server by\n", c.Out, c.Name)
	return printOf(leaf), err
}

func printOf(leaf *x509.Certificate) string {
	sum := sha256.Sum256(leaf.Raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// prepare returns the authority. What of the interface is not there yet is made.
func (c callerCommand) prepare(dir string) (*network.CA, error) {
	ca, err := c.authority(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(c.Dir, apiCallers)); errors.Is(err, fs.ErrNotExist) {
		if err := site.Save(filepath.Join(c.Dir, apiCallers), api.Callers{Callers: []api.Caller{}}); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(c.Dir, ConfigFile)
	raw, err := state.ReadFile(path, 4<<20)
	if err != nil {
		return nil, err
	}
	var document map[string]json.RawMessage
	if err := record.DecodeJSON(raw, 4<<20, &document); err != nil {
		return nil, err
	}
	if _, there := document["api"]; there {
		return ca, nil
	}
	server, err := ca.Issue("api", "server")
	if err != nil {
		return nil, err
	}
	if err := server.Save(filepath.Join(c.Dir, apiIdentity)); err != nil {
		return nil, err
	}
	if err := state.WriteFile(filepath.Join(c.Dir, apiRoot), ca.RootPEM()); err != nil {
		return nil, err
	}
	cfg := APIConfig{Listen: c.Listen, Certificate: apiIdentity, Authority: apiRoot, Callers: apiCallers, Hosts: []string{"localhost", "127.0.0.1"}}
	if document["api"], err = json.Marshal(cfg); err != nil {
		return nil, err
	}
	if err := errors.Join(cfg.check(), site.Save(path, document)); err != nil {
		return nil, err
	}
	_, err = fmt.Printf("%s has the interface now, on https://%s: restart the institution\n", path, c.Listen)
	return ca, err
}

func (c callerCommand) authority(dir string) (*network.CA, error) {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return network.LoadCA(dir)
	}
	k, err := site.LoadKeys(c.Dir)
	if err != nil {
		return nil, err
	}
	ca, err := network.NewCA(k.Identity.MSP)
	if err != nil {
		return nil, err
	}
	return ca, ca.Save(dir)
}
