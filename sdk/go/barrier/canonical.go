package barrier

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"
)

// CanonicalJSON writes a value by RFC 8785: members sorted by UTF-16 code units, numbers as ECMAScript writes them. Values are those
// that encoding/json makes; others are encoded and decoded first.
func CanonicalJSON(value any) (string, error) {
	encoded, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	var plain any
	if err := json.Unmarshal(encoded, &plain); err != nil {
		return "", err
	}
	var out strings.Builder
	if err := write(&out, plain); err != nil {
		return "", err
	}
	return out.String(), nil
}

// Fingerprint is the SHA-256 of the canonical JSON, in hexadecimal.
func Fingerprint(value any) (string, error) {
	text, err := CanonicalJSON(value)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:]), nil
}

func write(out *strings.Builder, value any) error {
	switch value := value.(type) {
	case map[string]any:
		names := make([]string, 0, len(value))
		for name := range value {
			names = append(names, name)
		}
		sort.Slice(names, func(i, j int) bool { return less16(names[i], names[j]) })
		out.WriteByte('{')
		for index, name := range names {
			if index > 0 {
				out.WriteByte(',')
			}
			text(out, name)
			out.WriteByte(':')
			if err := write(out, value[name]); err != nil {
				return err
			}
		}
		out.WriteByte('}')
	case []any:
		out.WriteByte('[')
		for index, element := range value {
			if index > 0 {
				out.WriteByte(',')
			}
			if err := write(out, element); err != nil {
				return err
			}
		}
		out.WriteByte(']')
	case string:
		text(out, value)
	case float64:
		if math.IsInf(value, 0) || math.IsNaN(value) {
			return fmt.Errorf("JSON has no infinite numbers")
		}
		out.WriteString(number(value))
	case bool:
		out.WriteString(strconv.FormatBool(value))
	case nil:
		out.WriteString("null")
	}
	return nil
}

func text(out *strings.Builder, value string) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value)
	encoded := strings.TrimSuffix(buffer.String(), "\n")
	// encoding/json escapes these two, which JSON does not ask for.
	encoded = strings.ReplaceAll(strings.ReplaceAll(encoded, `\u2028`, "\u2028"), `\u2029`, "\u2029")
	out.WriteString(encoded)
}

func less16(a, b string) bool {
	left, right := utf16.Encode([]rune(a)), utf16.Encode([]rune(b))
	for index := 0; index < len(left) && index < len(right); index++ {
		if left[index] != right[index] {
			return left[index] < right[index]
		}
	}
	return len(left) < len(right)
}

// number is ECMAScript's Number::toString.
func number(value float64) string {
	if value == 0 {
		return "0"
	}
	magnitude := math.Abs(value)
	if magnitude >= 1e-6 && magnitude < 1e21 {
		return strconv.FormatFloat(value, 'f', -1, 64)
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(value, 'e', -1, 64), "e")
	sign := exponent[:1]
	return mantissa + "e" + sign + strings.TrimLeft(exponent[1:], "0")
}
