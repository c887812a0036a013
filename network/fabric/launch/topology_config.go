package launch

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
)

const (
	coreFile     = "core.yaml"
	ordererFile  = "orderer.yaml"
	configtxFile = "configtx.yaml"
)

// genesisProfile names the channel's profile in configtx.yaml.
const genesisProfile = "Vitalveil"

// builderPlaceholder is the external builder's directory in Fabric's sample
// configuration, the one thing that no environment variable can set.
const builderPlaceholder = "/opt/hyperledger/ccaas_builder"

// coreConfig returns Fabric's sample core.yaml with our builder in it.
func coreConfig(b Binaries) ([]byte, error) {
	data, err := b.sample(coreFile)
	if err != nil {
		return nil, err
	}
	if bytes.Count(data, []byte(builderPlaceholder)) != 1 {
		return nil, fmt.Errorf("%s of Fabric %s does not name its external builder as expected", coreFile, Version)
	}
	return bytes.ReplaceAll(data, []byte(builderPlaceholder), []byte(strconv.Quote(b.builder()))), nil
}

// channelTemplate is configtx.yaml. Blocks are cut after 20 ms at
// the latest: the time of one transaction is nearly all this wait (docs/design/fabric.md).
// Raft elects within about a second; SmartBFT's times are those for one site.
var channelTemplate = template.Must(template.New(configtxFile).Parse(`
Organizations:
{{- range .Orgs}}
  - &{{.Anchor}}
    Name: {{.MSP}}
    ID: {{.MSP}}
    MSPDir: {{.Dir}}
    Policies:
      Readers: {Type: Signature, Rule: "OR('{{.MSP}}.member')"}
      Writers: {Type: Signature, Rule: "OR('{{.MSP}}.member')"}
      Admins: {Type: Signature, Rule: "OR('{{.MSP}}.admin')"}
      Endorsement: {Type: Signature, Rule: "OR('{{.MSP}}.peer')"}
{{- if .Port}}
    AnchorPeers: [{Host: localhost, Port: {{.Port}}}]
{{- else}}
    OrdererEndpoints: [{{range $i, $n := $.Nodes}}{{if $i}}, {{end}}"localhost:{{.Port}}"{{end}}]
{{- end}}
{{- end}}
Profiles:
  {{.Profile}}:
    Policies: &policies
      Readers: {Type: ImplicitMeta, Rule: "ANY Readers"}
      Writers: {Type: ImplicitMeta, Rule: "ANY Writers"}
      Admins: {Type: ImplicitMeta, Rule: "MAJORITY Admins"}
    Capabilities: {V3_0: true}
    Orderer:
      BatchTimeout: 20ms
      BatchSize: {MaxMessageCount: 200, AbsoluteMaxBytes: 10 MB, PreferredMaxBytes: 2 MB}
      Policies:
        <<: *policies
        BlockValidation: {Type: ImplicitMeta, Rule: "ANY Writers"}
      Capabilities: {V2_0: true}
      Organizations: [*orderers]
{{- if .BFT}}
      OrdererType: BFT
      SmartBFT:
        RequestBatchMaxInterval: 200ms
        RequestForwardTimeout: 2s
        RequestComplainTimeout: 10s
        RequestAutoRemoveTimeout: 3m
        ViewChangeResendInterval: 5s
        ViewChangeTimeout: 20s
        LeaderHeartbeatTimeout: 10s
        CollectTimeout: 1s
        IncomingMessageBufferSize: 200
        RequestPoolSize: 100000
        LeaderHeartbeatCount: 10
      ConsenterMapping:
{{- range .Nodes}}
        - {ID: {{.ID}}, Host: localhost, Port: {{.Port}}, MSPID: {{$.OrdererMSP}}, Identity: {{.Cert}}, ClientTLSCert: {{.TLS}}, ServerTLSCert: {{.TLS}}}
{{- end}}
{{- else}}
      OrdererType: etcdraft
      EtcdRaft:
        Consenters:
{{- range .Nodes}}
          - {Host: localhost, Port: {{.Port}}, ClientTLSCert: {{.TLS}}, ServerTLSCert: {{.TLS}}}
{{- end}}
        Options: {TickInterval: 100ms, ElectionTick: 10, HeartbeatTick: 1, MaxInflightBlocks: 5, SnapshotIntervalSize: 16 MB}
{{- end}}
    Application:
      Policies:
        <<: *policies
        LifecycleEndorsement: {Type: ImplicitMeta, Rule: "MAJORITY Endorsement"}
        Endorsement: {Type: ImplicitMeta, Rule: "MAJORITY Endorsement"}
      Capabilities: {V2_5: true}
      Organizations: [{{range $i, $o := .Members}}{{if $i}}, {{end}}*{{.Anchor}}{{end}}]
`))

type channelOrg struct {
	Anchor, MSP, Dir string
	Port             int // of the peer; 0 for the orderers' organisation
}

type channelNode struct {
	ID, Port  int
	Cert, TLS string
}

type channelConfig struct {
	Profile, OrdererMSP string
	BFT                 bool
	Orgs, Members       []channelOrg
	Nodes               []channelNode
}

// channel renders configtx.yaml. Paths are quoted, as they may hold anything.
func (t topology) channel(m material) ([]byte, error) {
	c := channelConfig{Profile: genesisProfile, OrdererMSP: ordererMSP, BFT: strings.HasPrefix(t.Orderers, "bft")}
	c.Orgs = []channelOrg{{Anchor: "orderers", MSP: ordererMSP, Dir: strconv.Quote(filepath.Join(m.org(ordererMSP), "msp"))}}
	for i, o := range t.Orgs {
		c.Members = append(c.Members, channelOrg{
			Anchor: fmt.Sprintf("org%d", i), MSP: o.MSP,
			Dir: strconv.Quote(filepath.Join(m.org(o.MSP), "msp")), Port: o.Port,
		})
	}
	c.Orgs = append(c.Orgs, c.Members...)
	for i, n := range t.Nodes {
		c.Nodes = append(c.Nodes, channelNode{
			ID: i + 1, Port: n.Port,
			Cert: strconv.Quote(filepath.Join(m.node(ordererMSP, n.Name), "msp", "signcerts", certFile)),
			TLS:  strconv.Quote(m.tls(ordererMSP, n.Name, certFile)),
		})
	}
	var out bytes.Buffer
	if err := channelTemplate.Execute(&out, c); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// ordererEnvironment configures an orderer that listens on a port.
func ordererEnvironment(dir string, m material, n ordererNode, listen int) []string {
	data := filepath.Join(dir, "data", n.Name)
	cert, key, root := m.tls(ordererMSP, n.Name, certFile), m.tls(ordererMSP, n.Name, keyFile), m.tls(ordererMSP, n.Name, rootFile)
	return environment(dir, "ORDERER_", map[string]string{
		"GENERAL_LISTENADDRESS":             "127.0.0.1",
		"GENERAL_LISTENPORT":                strconv.Itoa(listen),
		"GENERAL_LOCALMSPID":                ordererMSP,
		"GENERAL_LOCALMSPDIR":               filepath.Join(m.node(ordererMSP, n.Name), "msp"),
		"GENERAL_TLS_ENABLED":               "true",
		"GENERAL_TLS_CERTIFICATE":           cert,
		"GENERAL_TLS_PRIVATEKEY":            key,
		"GENERAL_TLS_ROOTCAS":               "[" + root + "]",
		"GENERAL_CLUSTER_CLIENTCERTIFICATE": cert,
		"GENERAL_CLUSTER_CLIENTPRIVATEKEY":  key,
		"GENERAL_CLUSTER_ROOTCAS":           "[" + root + "]",
		// How long a follower waits for a leader that is gone; Fabric's 7 s are
		// for other distances.
		"GENERAL_CLUSTER_RPCTIMEOUT": "3s",
		// Peers may ask this often whether the connection still carries anything.
		"GENERAL_KEEPALIVE_SERVERMININTERVAL": "5s",
		"GENERAL_BOOTSTRAPMETHOD":             "none",
		"CHANNELPARTICIPATION_ENABLED":        "true",
		"ADMIN_LISTENADDRESS":                 address(n.Admin),
		"ADMIN_TLS_ENABLED":                   "true",
		"ADMIN_TLS_CERTIFICATE":               cert,
		"ADMIN_TLS_PRIVATEKEY":                key,
		"ADMIN_TLS_CLIENTAUTHREQUIRED":        "true",
		"ADMIN_TLS_CLIENTROOTCAS":             "[" + root + "]",
		"OPERATIONS_LISTENADDRESS":            address(n.Operations),
		"METRICS_PROVIDER":                    "prometheus",
		"FILELEDGER_LOCATION":                 data,
		"CONSENSUS_WALDIR":                    filepath.Join(data, "etcdraft", "wal"),
		"CONSENSUS_SNAPDIR":                   filepath.Join(data, "etcdraft", "snapshot"),
	})
}

// gossip makes peers find each other in a second and not wait for what is lost. With Fabric's own intervals
// the gateway service needs up to 25 s to see the other organisations.
var gossip = map[string]string{
	"GOSSIP_PUBLISHSTATEINFOINTERVAL":  "500ms",
	"GOSSIP_REQUESTSTATEINFOINTERVAL":  "500ms",
	"GOSSIP_ALIVETIMEINTERVAL":         "1s",
	"GOSSIP_RECONNECTINTERVAL":         "2s",
	"GOSSIP_PUBLISHCERTPERIOD":         "1s",
	"GOSSIP_MEMBERSHIPTRACKERINTERVAL": "1s",
	// How long a peer holds up a block whose private data nobody sends, and how
	// often it asks for them afterwards. A peer that lost its disk waits so for
	// each approval of its own, which nobody else has; Fabric's minute is for
	// other distances.
	"GOSSIP_PVTDATA_PULLRETRYTHRESHOLD":     "3s",
	"GOSSIP_PVTDATA_RECONCILESLEEPINTERVAL": "10s",
}

// patience is how long a peer waits for nodes that neither answer nor hang up, as
// behind a network that is cut, before it turns to others. With Fabric's times
// transactions stand still for up to half a minute.
var patience = map[string]string{
	"GATEWAY_ENDORSEMENTTIMEOUT":        "5s",
	"GATEWAY_BROADCASTTIMEOUT":          "3s",
	"GOSSIP_ALIVEEXPIRATIONTIMEOUT":     "10s",
	"KEEPALIVE_DELIVERYCLIENT_INTERVAL": "10s", // gRPC allows no less
	"KEEPALIVE_DELIVERYCLIENT_TIMEOUT":  "5s",
}

// peerEnvironment configures a peer that listens on a port.
func peerEnvironment(dir string, m material, o peerNode, listen int) []string {
	data := filepath.Join(dir, "data", o.MSP)
	settings := map[string]string{
		"PEER_ID":                      peerName + "." + o.MSP,
		"PEER_NETWORKID":               channelName,
		"PEER_LISTENADDRESS":           address(listen),
		"PEER_ADDRESS":                 hostAddress(o.Port),
		"PEER_CHAINCODELISTENADDRESS":  address(o.Chaincode),
		"PEER_CHAINCODEADDRESS":        address(o.Chaincode),
		"PEER_GOSSIP_BOOTSTRAP":        hostAddress(o.Port),
		"PEER_GOSSIP_EXTERNALENDPOINT": hostAddress(o.Port),
		"PEER_LOCALMSPID":              o.MSP,
		"PEER_MSPCONFIGPATH":           filepath.Join(m.node(o.MSP, peerName), "msp"),
		"PEER_TLS_ENABLED":             "true",
		"PEER_TLS_CERT_FILE":           m.tls(o.MSP, peerName, certFile),
		"PEER_TLS_KEY_FILE":            m.tls(o.MSP, peerName, keyFile),
		"PEER_TLS_ROOTCERT_FILE":       m.tls(o.MSP, peerName, rootFile),
		"PEER_FILESYSTEMPATH":          data,
		"LEDGER_SNAPSHOTS_ROOTDIR":     filepath.Join(data, "snapshots"),
		"OPERATIONS_LISTENADDRESS":     address(o.Operations),
		"METRICS_PROVIDER":             "prometheus",
		"VM_ENDPOINT":                  "", // no Docker
	}
	for _, group := range []map[string]string{gossip, patience} {
		for k, v := range group {
			settings["PEER_"+k] = v
		}
	}
	env := environment(dir, "CORE_", settings)
	return append(env, "CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG="+connectionPath(dir, o.MSP))
}

// adminEnvironment lets the peer command act as an organisation's administrator.
func adminEnvironment(dir string, m material, o peerNode) []string {
	return environment(dir, "CORE_", map[string]string{
		"PEER_ADDRESS":           hostAddress(o.Port),
		"PEER_LOCALMSPID":        o.MSP,
		"PEER_MSPCONFIGPATH":     filepath.Join(m.node(o.MSP, "admin"), "msp"),
		"PEER_TLS_ENABLED":       "true",
		"PEER_TLS_ROOTCERT_FILE": m.tlsRoot(o.MSP),
	})
}

// connectionPath is the file that tells a peer how to reach its chaincode.
func connectionPath(dir, msp string) string {
	return filepath.Join(dir, "config", "connection-"+msp+".json")
}

func environment(dir, prefix string, settings map[string]string) []string {
	env := []string{"FABRIC_CFG_PATH=" + filepath.Join(dir, "config"), "FABRIC_LOGGING_SPEC=warning"}
	for k, v := range settings {
		env = append(env, prefix+k+"="+v)
	}
	return env
}
