// A backend for Metabase's SDK and interactive embedding: settings, the connection to the token service, and the server.
// What it answers is in backend.go.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/docker/go-connections/tlsconfig"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	pb "backend/tokenpb"
)

// Settings are what the environment says; ../README.md lists every variable. Of the people, env reads the file.
type Settings struct {
	Listen      string   `env:"LISTEN" envDefault:"127.0.0.1:8000"`
	PublicURL   string   `env:"PUBLIC_URL" envDefault:"http://localhost:8000"`
	AppOrigins  []string `env:"APP_ORIGINS" envDefault:"http://localhost:3001"`
	SameSite    string   `env:"COOKIE_SAMESITE" envDefault:"Lax"`
	People      People   `env:"PEOPLE_FILE,file" envDefault:"../people.json"`
	Instance    string   `env:"METABASE_INSTANCE"`
	Address     url.URL  `env:"METABASE_TOKEN_SERVICE_ADDRESS" envDefault:"http://127.0.0.1:50051"`
	CA          string   `env:"METABASE_TOKEN_SERVICE_TLS_CA"`
	Certificate string   `env:"METABASE_TOKEN_SERVICE_TLS_CERTIFICATE"`
	Key         string   `env:"METABASE_TOKEN_SERVICE_TLS_KEY"`
}

// origins are whose pages may read answers: the app's, and this backend's own.
func (s Settings) origins() []string { return append(s.AppOrigins, s.PublicURL) }

func (s Settings) secure() bool { return strings.HasPrefix(s.PublicURL, "https://") }

var sameSite = map[string]http.SameSite{"Lax": http.SameSiteLaxMode, "None": http.SameSiteNoneMode}

// check finds what would be unsafe, or what browsers would not follow.
func (s Settings) check() error {
	for _, origin := range s.origins() {
		if u, err := url.Parse(origin); err != nil || u.Scheme+"://"+u.Host != origin || u.Host == "" {
			return fmt.Errorf("APP_ORIGINS, PUBLIC_URL: %q is not an origin such as https://app.example.com", origin)
		}
	}
	switch {
	case sameSite[s.SameSite] == 0 || s.SameSite == "None" && !s.secure(): // Browsers drop the cookie otherwise.
		return fmt.Errorf("COOKIE_SAMESITE: %q must be Lax, or None with an https PUBLIC_URL", s.SameSite)
	case (s.Certificate != "") != (s.Key != ""):
		return errors.New("METABASE_TOKEN_SERVICE_TLS_CERTIFICATE goes together with METABASE_TOKEN_SERVICE_TLS_KEY")
	case (s.Address.Scheme == "https") != (s.CA != ""):
		return errors.New("METABASE_TOKEN_SERVICE_TLS_CA goes together with an https METABASE_TOKEN_SERVICE_ADDRESS")
	}
	return nil
}

// A deadline for each RPC with all its tries; only what certainly was not answered is tried again.
//
//go:embed service-config.json
var serviceConfig string

// connect connects when first asked. Plaintext is for a mesh's sidecar, or this machine.
func connect(s Settings) (*grpc.ClientConn, error) {
	security := insecure.NewCredentials()
	if s.CA != "" {
		files := tlsconfig.Options{CAFile: s.CA, CertFile: s.Certificate, KeyFile: s.Key, ExclusiveRootPools: true}
		config, err := tlsconfig.Client(files)
		if err != nil {
			return nil, fmt.Errorf("METABASE_TOKEN_SERVICE_TLS_CA, _CERTIFICATE, _KEY: %w", err)
		}
		security = credentials.NewTLS(config)
	}
	// Back soon after the service is; the default waits up to 2 minutes.
	reconnect := backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second}
	return grpc.NewClient(s.Address.Host, grpc.WithTransportCredentials(security), grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 2 * time.Second}),
		// Notices a peer that vanished without a word.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 5 * time.Second}))
}

func main() {
	settings, err := env.ParseAs[Settings]()
	service, connectErr := connect(settings)
	if err := errors.Join(err, settings.check(), connectErr); err != nil {
		log.Fatal(err)
	}
	handler := newHandler(settings, pb.NewMetabaseTokenServiceClient(service))
	stop, release := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// Who stalls is not waited for, neither before the end nor at it.
	server := &http.Server{Addr: settings.Listen, Handler: handler, ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second}
	log.Print("listening on http://", settings.Listen)
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	<-stop.Done()
	release()                                 // A second signal ends at once.
	_ = server.Shutdown(context.Background()) // Answers what is in flight.
}
