// Command golang-jwt signs and verifies tokens with github.com/golang-jwt/jwt, as an ordinary Go service would.
//
// The one argument is "verify" or "sign". A JSON object is read from standard input and one is written to standard output:
//
//	verify: {"token", "secret"}                          -> {"header", "claims"} or {"error"}
//	sign:   {"claims", "secret", "algorithm", "header"}  -> {"token"} or {"error"}; "header" is added to the usual one
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/golang-jwt/jwt/v5"
)

type request struct {
	Token     string         `json:"token"`
	Claims    jwt.MapClaims  `json:"claims"`
	Secret    string         `json:"secret"`
	Algorithm string         `json:"algorithm"`
	Header    map[string]any `json:"header"`
}

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: golang-jwt verify|sign"))
	}
	var asked request
	decoder := json.NewDecoder(os.Stdin)
	decoder.UseNumber() // A claim is signed as it was written, whatever its size.
	if err := decoder.Decode(&asked); err != nil {
		fail(err)
	}
	var answer map[string]any
	var err error
	switch mode := os.Args[1]; mode {
	case "verify":
		answer, err = verify(asked)
	case "sign":
		answer, err = sign(asked)
	default:
		fail(fmt.Errorf("no such mode: %q", mode))
	}
	if err != nil {
		answer = map[string]any{"error": err.Error()}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		fail(err)
	}
}

func verify(asked request) (map[string]any, error) {
	key := func(*jwt.Token) (any, error) { return []byte(asked.Secret), nil }
	token, err := jwt.Parse(asked.Token, key, jwt.WithValidMethods([]string{"HS256"}), jwt.WithJSONNumber())
	if err != nil {
		return nil, err
	}
	return map[string]any{"header": token.Header, "claims": token.Claims}, nil
}

func sign(asked request) (map[string]any, error) {
	method := jwt.GetSigningMethod(asked.Algorithm)
	if method == nil {
		return nil, fmt.Errorf("no such algorithm: %q", asked.Algorithm)
	}
	token := jwt.NewWithClaims(method, asked.Claims)
	for name, value := range asked.Header {
		token.Header[name] = value
	}
	var key any = []byte(asked.Secret)
	if method == jwt.SigningMethodNone {
		key = jwt.UnsafeAllowNoneSignatureType
	}
	signed, err := token.SignedString(key)
	if err != nil {
		return nil, err
	}
	return map[string]any{"token": signed}, nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "golang-jwt:", err)
	os.Exit(2)
}
