package launch

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strconv"

	"github.com/vitalveil/vitalveil/internal/state"
)

// writeAdminConfig writes what network/admin needs: a connection profile in
// the form of fabric-sdk-go. It names files, so it holds no secret.
func (n *Network) writeAdminConfig() error {
	type object = map[string]any
	orgs, peers, orderers, cas := object{}, object{}, object{}, object{}
	var matchPeers, matchOrderers []object
	var ordererNames []string
	for _, o := range n.topology.Orgs {
		name, admin := peerProcess(o), n.material.node(o.MSP, "admin")
		user := object{"cert": object{"path": filepath.Join(admin, certFile)}, "key": object{"path": filepath.Join(admin, keyFile)}}
		org := object{"mspid": o.MSP, "cryptoPath": "none", "peers": []string{name}, "users": object{"admin": user}}
		if n.topology.CA != "" {
			org["certificateAuthorities"] = []string{caProcess(o)}
			cas[caProcess(o)] = object{
				"url": "https://" + hostAddress(o.CA), "caName": o.MSP,
				"tlsCACerts": object{"path": n.material.tlsRoot(o.MSP)},
			}
		}
		orgs[o.MSP] = org
		peers[name] = object{"url": hostAddress(o.Port), "tlsCACerts": object{"path": n.material.tlsRoot(o.MSP)}}
		matchPeers = append(matchPeers, object{"pattern": "^" + hostAddress(o.Port) + "$", "mappedHost": name})
	}
	for _, o := range n.topology.Nodes {
		orderers[o.Name] = object{"url": hostAddress(o.Port), "tlsCACerts": object{"path": n.material.tlsRoot(ordererMSP)}}
		matchOrderers = append(matchOrderers, object{"pattern": "^" + hostAddress(o.Port) + "$", "mappedHost": o.Name})
		ordererNames = append(ordererNames, o.Name)
	}
	channelPeers := object{}
	for name := range peers {
		channelPeers[name] = object{}
	}
	data, err := json.MarshalIndent(object{
		"version": "1.0.0",
		"client": object{
			"organization": n.topology.Orgs[0].MSP,
			"logging":      object{"level": "error"},
			"BCCSP": object{"security": object{
				"enabled": true, "default": object{"provider": "SW"}, "hashAlgorithm": "SHA2", "softVerify": true, "level": 256,
			}},
		},
		"channels":               object{"_default": object{"peers": channelPeers, "orderers": ordererNames}},
		"organizations":          orgs,
		"certificateAuthorities": cas,
		"peers":                  peers,
		"orderers":               orderers,
		"entityMatchers":         object{"peer": matchPeers, "orderer": matchOrderers},
	}, "", "  ")
	if err != nil {
		return err
	}
	return state.WriteFile(n.adminConfigPath(), append(data, '\n'))
}

func (n *Network) adminConfigPath() string { return filepath.Join(n.dir, "config", "admin.json") }

// sdk runs network/admin as the administrator of o.
func (n *Network) sdk(ctx context.Context, o peerNode, args ...string) ([]byte, error) {
	args = append([]string{"--config", n.adminConfigPath(), "--org", o.MSP}, args...)
	return n.program(ctx, nil, n.admin, args...)
}

// sdkTerms are terms in the flags of network/admin.
func (n *Network) sdkTerms(d definition) []string {
	args := []string{
		"--channel", channelName, "--name", chaincodeName, "--cc-version", d.version(),
		"--sequence", strconv.Itoa(d.sequence), "--policy", n.topology.endorsement(),
	}
	if len(n.topology.Collections) > 0 {
		args = append(args, "--collections", n.collectionsPath())
	}
	return args
}
