// The peer in Go: net/http, go-redis, golang-jwt, and the same work per read as the service:
// a token that is verified once, a limit kept in leases from Redis, an entity tag.
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"log"
	"math/big"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"
)

const (
	quota       = 1_000_000
	windowS     = 1
	leaseTokens = 20_000
	lease       = 3 * time.Second
)

var policy = `"default";q=` + strconv.Itoa(quota) + ";w=" + strconv.Itoa(windowS)

type claims struct {
	Scope string `json:"scope"`
	jwt.RegisteredClaims
}

type tokens struct {
	keys     map[string]*ecdsa.PublicKey
	parser   *jwt.Parser
	verified sync.Map // token to *claims; as many as the benchmark has callers
}

func loadTokens(file, issuer, audience string) (*tokens, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []struct{ Kid, X, Y string }
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, err
	}
	keys := map[string]*ecdsa.PublicKey{}
	for _, key := range set.Keys {
		x, err := base64.RawURLEncoding.DecodeString(key.X)
		if err != nil {
			return nil, err
		}
		y, err := base64.RawURLEncoding.DecodeString(key.Y)
		if err != nil {
			return nil, err
		}
		keys[key.Kid] = &ecdsa.PublicKey{
			Curve: elliptic.P256(), X: new(big.Int).SetBytes(x), Y: new(big.Int).SetBytes(y),
		}
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(),
	)
	return &tokens{keys: keys, parser: parser}, nil
}

func (t *tokens) claims(authorization string) *claims {
	token, found := strings.CutPrefix(authorization, "Bearer ")
	if !found {
		return nil
	}
	if known, ok := t.verified.Load(token); ok {
		if c := known.(*claims); time.Now().Before(c.ExpiresAt.Time) {
			return c
		}
		return nil
	}
	c := &claims{}
	_, err := t.parser.ParseWithClaims(token, c, func(parsed *jwt.Token) (any, error) {
		kid, _ := parsed.Header["kid"].(string)
		if key, ok := t.keys[kid]; ok {
			return key, nil
		}
		return nil, jwt.ErrTokenUnverifiable
	})
	if err != nil {
		return nil
	}
	t.verified.Store(token, c)
	return c
}

//go:embed lease.lua
var leaseScript string

type limiter struct {
	redis  *redis.Client
	script *redis.Script
	mutex  sync.Mutex
	left   map[string]int
	until  map[string]time.Time
}

// remaining is what is left after this request; negative: refused.
func (l *limiter) remaining(ctx context.Context, subject string) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	left := l.left[subject]
	if left == 0 || time.Now().After(l.until[subject]) {
		var err error
		perSecond := float64(quota) / windowS
		keys := []string{"peer:limit:" + subject}
		left, err = l.script.Run(ctx, l.redis, keys, quota, perSecond, leaseTokens).Int()
		if err != nil {
			return 0, err
		}
		l.until[subject] = time.Now().Add(lease)
	}
	l.left[subject] = max(0, left-1)
	return left - 1, nil
}

type server struct {
	tokens  *tokens
	limiter *limiter
	redis   *redis.Client
}

func (s *server) getItem(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	caller := s.tokens.claims(r.Header.Get("Authorization"))
	if caller == nil {
		header.Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	remaining, err := s.limiter.remaining(r.Context(), caller.Subject)
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	header.Set("X-Request-Id", requestID(r))
	header.Set("RateLimit-Policy", policy)
	header.Set("RateLimit", `"default";r=`+strconv.Itoa(max(0, remaining))+";t=1")
	if remaining < 0 {
		header.Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	if !strings.Contains(" "+caller.Scope+" ", " items:read ") {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	stored, err := s.redis.Get(r.Context(), "peer:item:"+r.PathValue("id")).Bytes()
	if err == redis.Nil {
		w.WriteHeader(http.StatusNotFound)
		return
	} else if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	tag, body, _ := bytes.Cut(stored, []byte("\n"))
	header.Set("ETag", string(tag))
	header.Set("Cache-Control", "private, no-cache")
	header.Set("Vary", "Accept, Accept-Encoding, Authorization")
	if r.Header.Get("If-None-Match") == string(tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

func requestID(r *http.Request) string {
	if sent := r.Header.Get("X-Request-Id"); sent != "" {
		return sent
	}
	var bits [16]byte
	rand.Read(bits[:])
	return hex.EncodeToString(bits[:])
}

func main() {
	options, err := redis.ParseURL(os.Getenv("BENCH_REDIS_URL"))
	if err != nil {
		log.Fatal("BENCH_REDIS_URL cannot be read")
	}
	options.PoolSize = 64
	client := redis.NewClient(options)
	checked, err := loadTokens(
		os.Getenv("BENCH_JWKS"), os.Getenv("BENCH_ISSUER"), os.Getenv("BENCH_AUDIENCE"),
	)
	if err != nil {
		log.Fatal(err)
	}
	s := &server{tokens: checked, redis: client, limiter: &limiter{
		redis: client, script: redis.NewScript(leaseScript),
		left: map[string]int{}, until: map[string]time.Time{},
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/items/{id}", s.getItem)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("BENCH_PORT"), mux))
}
