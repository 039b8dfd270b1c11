package pulse

import (
	"context"
	"fmt"
	"strings"

	"github.com/jfreymuth/pulse/proto"
)

// Server is what a sound server says of itself.
type Server struct {
	Name           string // "pulseaudio 16.1", "PulseAudio (on PipeWire 0.3.65) 15.0.0"
	Sink, Source   string // the default ones
	Sinks, Sources []Port // all, without the monitors of sinks
}

// Port is a sink or a source of the server.
type Port struct {
	Name  string // what OpenPlayback and OpenCapture take
	Title string // for people
}

// Ask asks the server of the session what it has. The error has ErrNoServer in
// its chain if there is none. It gives up when ctx is done.
func Ask(ctx context.Context) (*Server, error) {
	l, err := dial(ctx, "Hushbell", func(any) {}, func(error) {})
	if err != nil {
		return nil, fmt.Errorf("pulse: %w", err)
	}
	defer l.close()
	var info proto.GetServerInfoReply
	if err := l.request("ask server", &proto.GetServerInfo{}, &info); err != nil {
		return nil, err
	}
	var sinks proto.GetSinkInfoListReply
	if err := l.request("list sinks", &proto.GetSinkInfoList{}, &sinks); err != nil {
		return nil, err
	}
	var sources proto.GetSourceInfoListReply
	if err := l.request("list sources", &proto.GetSourceInfoList{}, &sources); err != nil {
		return nil, err
	}
	s := &Server{
		Name: info.PackageName + " " + info.PackageVersion,
		Sink: info.DefaultSinkName, Source: info.DefaultSourceName,
	}
	for _, k := range sinks {
		s.Sinks = append(s.Sinks, Port{k.SinkName, title(k.Properties)})
	}
	for _, k := range sources {
		if k.MonitorSourceIndex == proto.Undefined {
			s.Sources = append(s.Sources, Port{k.SourceName, title(k.Properties)})
		}
	}
	return s, nil
}

func title(p proto.PropList) string {
	return strings.TrimRight(p["device.description"].String(), "\x00")
}
