// Package capture reads recorded Bluetooth traffic and yields the vital signs in it.
//
// [Decode] takes what phones, hosts and sniffers write: btsnoop of data links 1001,
// 1002 and 2001, Apple's PacketLogger in both byte orders, pcap and pcapng of link
// types 187, 201, 251, 254, 256 and 272. It follows connections, reassembles L2CAP,
// follows the discovery of attributes, also over enhanced bearers, and decodes each
// notification and indication that the package wearable knows. [WriteCSV] writes the
// readings as a table.
//
// # Trust
//
// A file may come from anybody. Memory is bounded whatever it contains, and what is
// garbled costs itself alone: a radio loses packets without the rest becoming
// worthless. Containers are read by this package, those of pcap by gopacket.
//
// # Promise
//
// Nothing is left out silently: [Summary] counts cut records, values that do not
// decode, and names the connections whose attributes the file does not explain or
// that are encrypted.
package capture
