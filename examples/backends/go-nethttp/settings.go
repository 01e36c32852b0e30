package main

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// Settings are what the environment says; ../README.md lists every variable.
type Settings struct {
	Listen, Instance, PeopleFile string
	Origins                      []string // whose pages may read answers: the app's, and this backend's own
	Secure, CrossSite            bool
	Address                      string // of the service: HOST:PORT
	CA, Certificate, Key         string // files; without CA the connection is plaintext
}

func settingsFromEnvironment() (Settings, error) {
	env := func(name, otherwise string) string { return cmp.Or(os.Getenv(name), otherwise) }
	public := env("PUBLIC_URL", "http://localhost:8000")
	sameSite := env("COOKIE_SAMESITE", "Lax")
	scheme, address, _ := strings.Cut(env("METABASE_TOKEN_SERVICE_ADDRESS", "http://127.0.0.1:50051"), "://")
	settings := Settings{
		Listen:      env("LISTEN", "127.0.0.1:8000"),
		Instance:    env("METABASE_INSTANCE", ""),
		PeopleFile:  env("PEOPLE_FILE", "../people.json"),
		Origins:     append(strings.Split(env("APP_ORIGINS", "http://localhost:3001"), ","), public),
		Secure:      strings.HasPrefix(public, "https://"),
		CrossSite:   sameSite == "None",
		Address:     address,
		CA:          env("METABASE_TOKEN_SERVICE_TLS_CA", ""),
		Certificate: env("METABASE_TOKEN_SERVICE_TLS_CERTIFICATE", ""),
		Key:         env("METABASE_TOKEN_SERVICE_TLS_KEY", ""),
	}
	invalid := func(rule string, values ...any) (Settings, error) { return Settings{}, fmt.Errorf(rule, values...) }
	for _, origin := range settings.Origins {
		if u, err := url.Parse(origin); err != nil || u.Scheme+"://"+u.Host != origin || u.Host == "" {
			return invalid("APP_ORIGINS, PUBLIC_URL: %q is not an origin such as https://app.example.com", origin)
		}
	}
	if sameSite != "Lax" && sameSite != "None" {
		return invalid("COOKIE_SAMESITE: %q must be Lax or None", sameSite)
	}
	if settings.CrossSite && !settings.Secure {
		return invalid("COOKIE_SAMESITE=None needs an https PUBLIC_URL: browsers drop the cookie otherwise")
	}
	if (scheme == "https") != (settings.CA != "") {
		return invalid("METABASE_TOKEN_SERVICE_TLS_CA goes together with an https METABASE_TOKEN_SERVICE_ADDRESS")
	}
	if (settings.Certificate != "") != (settings.Key != "") {
		return invalid("METABASE_TOKEN_SERVICE_TLS_CERTIFICATE goes together with METABASE_TOKEN_SERVICE_TLS_KEY")
	}
	return settings, nil
}
