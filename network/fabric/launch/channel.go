package launch

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

func (n *Network) genesisPath() string { return filepath.Join(n.dir, "genesis.block") }

// genesis makes the channel's first block, once: another run would give another
// block and so another channel.
func (n *Network) genesis(ctx context.Context) error {
	if _, err := os.Stat(n.genesisPath()); err == nil {
		return nil
	}
	unfinished := n.genesisPath() + ".new"
	_, err := n.tool(ctx, environment(n.dir, "", nil), "configtxgen",
		"-profile", genesisProfile, "-channelID", channelName, "-outputBlock", unfinished)
	if err != nil {
		return err
	}
	return os.Rename(unfinished, n.genesisPath())
}

// tool runs one of Fabric's programs to its end and returns what it printed.
func (n *Network) tool(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	return n.program(ctx, env, n.binaries.program(name), args...)
}

func (n *Network) program(ctx context.Context, env []string, path string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, path, args...)
	c.Env = append(inherited(), env...)
	c.Dir = n.dir
	ownGroup(c)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("%s %s: %w: %s", filepath.Base(path), strings.Join(args[:min(3, len(args))], " "), err,
			lastLines(stderr.String()+stdout.String(), 6))
	}
	return stdout.Bytes(), nil
}

// ordererChannel is what an orderer's participation service says of a channel.
type ordererChannel struct {
	Status   string `json:"status"`
	Relation string `json:"consensusRelation"`
	Height   uint64 `json:"height"`
}

// errNoChannel says that an orderer has not joined yet.
var errNoChannel = errors.New("the orderer has not joined the channel")

const participationPath = "/participation/v1/channels"

// maxAnswer bounds what the participation service may answer, in bytes.
const maxAnswer = 1 << 20

// participation is an orderer's administration service, over mutual TLS.
func (n *Network) participation(o ordererNode) (*http.Client, string, error) {
	cert, err := tls.LoadX509KeyPair(n.material.tls(ordererMSP, o.Name, certFile), n.material.tls(ordererMSP, o.Name, keyFile))
	if err != nil {
		return nil, "", err
	}
	root, err := os.ReadFile(n.material.tlsRoot(ordererMSP))
	if err != nil {
		return nil, "", err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(root) {
		return nil, "", errors.New("the orderers' TLS root is not a certificate")
	}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{cert}},
		DisableKeepAlives: true,
	}
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}, "https://" + hostAddress(o.Admin) + participationPath, nil
}

// ask sends one request to an orderer's participation service.
func (n *Network) ask(ctx context.Context, o ordererNode, method, path, kind string, body io.Reader) (int, []byte, error) {
	client, url, err := n.participation(o)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, url+path, body)
	if err != nil {
		return 0, nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, data, err
}

func (n *Network) ordererChannel(ctx context.Context, o ordererNode) (ordererChannel, error) {
	status, data, err := n.ask(ctx, o, http.MethodGet, "/"+channelName, "", nil)
	if err != nil {
		return ordererChannel{}, err
	}
	switch status {
	case http.StatusOK:
		var c ordererChannel
		return c, json.Unmarshal(data, &c)
	case http.StatusNotFound:
		return ordererChannel{}, errNoChannel
	default:
		return ordererChannel{}, fmt.Errorf("the orderer answers %d: %s", status, lastLines(string(data), 3))
	}
}

// joinOrderers makes every orderer a consenter of the channel.
func (n *Network) joinOrderers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, o := range n.topology.Nodes {
		if err := n.retry(ctx, func() error { return n.joinOrderer(ctx, o) }); err != nil {
			return fmt.Errorf("%s cannot join the channel: %w", o.Name, err)
		}
	}
	n.say("the orderers have joined channel %s", channelName)
	return nil
}

func (n *Network) joinOrderer(ctx context.Context, o ordererNode) error {
	_, err := n.ordererChannel(ctx, o)
	if !errors.Is(err, errNoChannel) {
		return err
	}
	block, err := n.joinBlock(ctx, o)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("config-block", filepath.Base(n.genesisPath()))
	if err != nil {
		return fatalError{err}
	}
	if _, err := part.Write(block); err != nil {
		return fatalError{err}
	}
	if err := form.Close(); err != nil {
		return fatalError{err}
	}
	status, data, err := n.ask(ctx, o, http.MethodPost, "", form.FormDataContentType(), &body)
	if err != nil {
		return err
	}
	if status != http.StatusCreated {
		return fmt.Errorf("the orderer answers %d: %s", status, lastLines(string(data), 3))
	}
	return nil
}

// joinPeers makes every peer a member of the channel.
func (n *Network) joinPeers(ctx context.Context) error {
	err := n.eachOrg(ctx, func(ctx context.Context, o peerNode) error {
		joined, err := n.peerJoined(ctx, o)
		if err != nil || joined {
			return err
		}
		if n.admin != "" {
			_, err = n.sdk(ctx, o, "join", "--channel", channelName)
		} else {
			_, err = n.peer(ctx, o, "channel", "join", "-b", n.genesisPath())
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("peers cannot join the channel: %w", err)
	}
	n.say("the peers have joined channel %s", channelName)
	return nil
}

func (n *Network) peerJoined(ctx context.Context, o peerNode) (bool, error) {
	out, err := n.peer(ctx, o, "channel", "list")
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(out)) {
		if strings.TrimSpace(line) == channelName {
			return true, nil
		}
	}
	return false, nil
}

// peer runs the peer command as the administrator of o.
func (n *Network) peer(ctx context.Context, o peerNode, args ...string) ([]byte, error) {
	return n.tool(ctx, adminEnvironment(n.dir, n.material, o), "peer", args...)
}

// eachOrg runs a step for all organisations at once, each again while it fails,
// until startTimeout.
func (n *Network) eachOrg(ctx context.Context, step func(context.Context, peerNode) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	for _, o := range n.topology.Orgs {
		g.Go(func() error {
			if err := n.retry(ctx, func() error { return step(ctx, o) }); err != nil {
				return fmt.Errorf("%s: %w", o.MSP, err)
			}
			return nil
		})
	}
	return g.Wait()
}
