package bluez

import (
	"context"
	"errors"
	"fmt"

	"github.com/godbus/dbus/v5"

	"github.com/vitalveil/vitalveil/bridge/radio"
)

const (
	agentKind   = "org.bluez.Agent1"
	managerKind = "org.bluez.AgentManager1"
)

// agent answers what bluetoothd asks while it pairs with one sensor. It refuses whatever it
// was not asked for by the person who pairs.
type agent struct {
	ctx    context.Context
	device dbus.ObjectPath
	ask    func(context.Context) (uint32, error)
}

func rejected() *dbus.Error { return dbus.NewError("org.bluez.Error.Rejected", nil) }

// passkey asks the person for the number that the sensor shows.
func (a *agent) passkey(device dbus.ObjectPath) (uint32, *dbus.Error) {
	if device != a.device || a.ask == nil {
		return 0, rejected()
	}
	n, err := a.ask(a.ctx)
	if err != nil || n > 999_999 {
		return 0, rejected()
	}
	return n, nil
}

// methods are those of org.bluez.Agent1.
func (a *agent) methods() map[string]any {
	return map[string]any{
		"Release":        func() *dbus.Error { return nil },
		"Cancel":         func() *dbus.Error { return nil },
		"RequestPasskey": a.passkey,
		"RequestPinCode": func(device dbus.ObjectPath) (string, *dbus.Error) {
			n, err := a.passkey(device)
			return fmt.Sprintf("%06d", n), err
		},
		"RequestConfirmation": func(device dbus.ObjectPath, shown uint32) *dbus.Error {
			n, err := a.passkey(device)
			if err == nil && n != shown {
				err = rejected()
			}
			return err
		},
		"RequestAuthorization": func(device dbus.ObjectPath) *dbus.Error {
			if device != a.device {
				return rejected()
			}
			return nil
		},
		"AuthorizeService": func(device dbus.ObjectPath, _ string) *dbus.Error {
			if device != a.device {
				return rejected()
			}
			return nil
		},
		"DisplayPasskey": func(dbus.ObjectPath, uint32, uint16) *dbus.Error { return nil },
		"DisplayPinCode": func(dbus.ObjectPath, string) *dbus.Error { return nil },
	}
}

// Pair implements radio.Radio. It returns once bluetoothd has the bond, and will connect to
// the sensor by itself.
func (r *Radio) Pair(ctx context.Context, address string, ask func(context.Context) (uint32, error)) error {
	path, err := r.device(ctx, address)
	if err != nil {
		return err
	}
	a := &agent{ctx: ctx, device: path, ask: ask}
	own := dbus.ObjectPath(fmt.Sprintf("/vitalveil/agent%d", r.agents.Add(1)))
	if err := r.conn.ExportMethodTable(a.methods(), own, agentKind); err != nil {
		return err
	}
	defer func() { _ = r.conn.Export(nil, own, agentKind) }()
	manager := r.object("/org/bluez")
	if err := manager.CallWithContext(ctx, managerKind+".RegisterAgent", 0, own, "KeyboardDisplay").Err; err != nil {
		return explained(err)
	}
	defer manager.Call(managerKind+".UnregisterAgent", dbus.FlagNoReplyExpected, own)
	d := r.object(path)
	err = d.CallWithContext(ctx, deviceKind+".Pair", 0).Err
	var e dbus.Error
	switch {
	case errors.As(err, &e) && e.Name == "org.bluez.Error.AlreadyExists":
	case err != nil:
		return fmt.Errorf("pair with %s: %w", address, explained(err))
	}
	return explained(d.CallWithContext(ctx, propertiesKind+".Set", 0, deviceKind, "Trusted", dbus.MakeVariant(true)).Err)
}

var _ radio.Radio = (*Radio)(nil)
