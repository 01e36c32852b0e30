// The HTTP side: sign-in of demo people, and the endpoint that Metabase's SDK and interactive embedding call.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"mime"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alexedwards/scs/v2"

	pb "backend/tokenpb"
)

// Person is an entry of the user database.
type Person struct {
	ID         string            `json:"id"`
	Email      string            `json:"email"`
	FirstName  string            `json:"first_name"`
	LastName   string            `json:"last_name"`
	Groups     []string          `json:"groups"`
	Attributes map[string]string `json:"attributes"`
}

// Backend is what requests need to be answered.
type Backend struct {
	settings Settings
	people   map[string]Person   // Yours: the user database.
	sessions *scs.SessionManager // Yours: with a store that outlives the process.
	service  pb.MetabaseTokenServiceClient
}

func newBackend(settings Settings, people map[string]Person, service pb.MetabaseTokenServiceClient) *Backend {
	sessions := scs.New() // HttpOnly and SameSite=Lax, unless told otherwise.
	sessions.Lifetime = 8 * time.Hour
	if sessions.Cookie.Secure = settings.Secure; settings.Secure {
		sessions.Cookie.Name = "__Host-session" // The prefix keeps sibling subdomains from planting a session of their own.
	}
	if settings.CrossSite {
		sessions.Cookie.SameSite = http.SameSiteNoneMode
	}
	return &Backend{settings, people, sessions, service}
}

func (b *Backend) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", b.login)
	mux.HandleFunc("POST /logout", b.logout)
	mux.HandleFunc("GET /sso/metabase", b.signedIn(b.sso))
	mux.HandleFunc("GET /sso/metabase/status", b.signedIn(b.status))
	return b.guard(b.sessions.LoadAndSave(mux))
}

// guard is CORS with credentials, for exactly the origins configured; the answers are never stored.
func (b *Backend) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Add("Vary", "Origin")
		if origin := r.Header.Get("Origin"); origin != "" {
			// CORS only hides answers; this keeps other sites from signing people in and out.
			if !slices.Contains(b.settings.Origins, origin) {
				fail(w, http.StatusForbidden, "FOREIGN_ORIGIN", "Not from this site.")
				return
			}
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Allow-Credentials", "true")
		}
		if r.Method == http.MethodOptions {
			w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
			w.Header().Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// signedIn hands on who is asking: the session says so, and nothing else in the request.
func (b *Backend) signedIn(next func(http.ResponseWriter, *http.Request, Person)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		person, found := b.people[b.sessions.GetString(r.Context(), "user")]
		if !found {
			fail(w, http.StatusUnauthorized, "NOT_SIGNED_IN", "Sign in first.")
			return
		}
		next(w, r, person)
	}
}

func (b *Backend) login(w http.ResponseWriter, r *http.Request) {
	var body struct{ User string }
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "application/json" || json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&body) != nil {
		fail(w, http.StatusBadRequest, "INVALID_REQUEST", `Send {"user": "…"} as JSON.`)
		return
	}
	// Yours: prove who it is. The demo believes a name.
	if _, found := b.people[body.User]; !found {
		fail(w, http.StatusUnauthorized, "UNKNOWN_USER", "There is no such person.")
		return
	}
	if err := b.sessions.RenewToken(r.Context()); err != nil {
		fail(w, http.StatusInternalServerError, "NO_SESSION", "Nobody can sign in at the moment.")
		return
	}
	b.sessions.Put(r.Context(), "user", body.User)
	w.WriteHeader(http.StatusNoContent)
}

func (b *Backend) logout(w http.ResponseWriter, r *http.Request) {
	if err := b.sessions.Destroy(r.Context()); err != nil {
		fail(w, http.StatusInternalServerError, "NO_SESSION", "Nobody can sign out at the moment.")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (b *Backend) sso(w http.ResponseWriter, r *http.Request, person Person) {
	wantsJSON, returnTo := ssoQuery(r.URL.RawQuery)
	if wantsJSON {
		if token, err := b.issue(r.Context(), person, nil); err != nil {
			failed(w, err)
		} else {
			answer(w, http.StatusOK, map[string]string{"jwt": token.GetJwt()})
		}
	} else if token, err := b.issue(r.Context(), person, &returnTo); err != nil {
		failed(w, err)
	} else {
		http.Redirect(w, r, token.GetSsoUrl(), http.StatusFound)
	}
}

func (b *Backend) status(w http.ResponseWriter, r *http.Request, person Person) {
	token, err := b.issue(r.Context(), person, nil)
	if err != nil {
		failed(w, err)
		return
	}
	credential := &pb.CheckAuthStatusRequest_Jwt{Jwt: token.GetJwt()}
	request := &pb.CheckAuthStatusRequest{Instance: b.settings.Instance, Credential: credential}
	judged, err := b.service.CheckAuthStatus(r.Context(), request)
	if err != nil {
		failed(w, err)
		return
	}
	for _, warning := range judged.GetWarnings() {
		log.Print("token service: ", warning) // For operators.
	}
	answer(w, http.StatusOK, map[string]string{
		"status":  strings.ToLower(strings.TrimPrefix(judged.GetStatus().String(), "AUTH_STATUS_")),
		"reason":  strings.TrimPrefix(judged.GetReason().String(), "AUTH_STATUS_REASON_"),
		"message": judged.GetMessage(),
	})
}

// ssoQuery tells whether the SDK asks (response=json), and where Metabase wants the person back. Metabase appends
// return_to at the end, unencoded: then everything behind it belongs to it, "?" and "&" too.
func ssoQuery(query string) (wantsJSON bool, returnTo string) {
	before, rest, _ := strings.Cut("&"+query, "&return_to=")
	if strings.Contains(rest, "?") {
		own, _ := url.ParseQuery(strings.TrimPrefix(before, "&"))
		return own.Get("response") == "json", rest
	}
	own, _ := url.ParseQuery(query)
	return own.Get("response") == "json", own.Get("return_to")
}

func fail(w http.ResponseWriter, status int, code, message string) {
	answer(w, status, map[string]string{"status": "error", "code": code, "message": message})
}

func answer(w http.ResponseWriter, status int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // Fails only if the browser has gone.
}

func main() {
	settings, err := settingsFromEnvironment()
	if err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(settings.PeopleFile)
	if err != nil {
		log.Fatal("PEOPLE_FILE: ", err)
	}
	var people map[string]Person
	if err := json.Unmarshal(text, &people); err != nil {
		log.Fatal("PEOPLE_FILE: ", err)
	}
	service, err := connect(settings)
	if err != nil {
		log.Fatal(err)
	}
	handler := newBackend(settings, people, pb.NewMetabaseTokenServiceClient(service)).handler()
	server := &http.Server{Addr: settings.Listen, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	log.Print("listening on http://", settings.Listen)
	stop, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	answered := make(chan error)
	go func() {
		<-stop.Done()
		answered <- server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-answered // What was in flight.
}
