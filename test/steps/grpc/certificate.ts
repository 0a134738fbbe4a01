/** A self-signed certificate for `warehouse.test`, valid for a hundred years, and its key: for tests only, it guards nothing. */
export const certificate = `-----BEGIN CERTIFICATE-----
MIIBpDCCAUqgAwIBAgIUFnkZFJGN9pIwQtrnjw5Qs4VvYYAwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOd2FyZWhvdXNlLnRlc3QwIBcNMjYxMTMwMTYyNzIzWhgPMjEy
NjExMDYxNjI3MjNaMBkxFzAVBgNVBAMMDndhcmVob3VzZS50ZXN0MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEz9jy4IEWtAYa5V/iQuQvT7wHv+BbXr+jm4S03hya
tOM4Ow5aTZAsV4gEgQ1Fm5Zcnt5vd5uzwGs2h0nhTotVtaNuMGwwHQYDVR0OBBYE
FOSC1XrZ6+PtyKidAiOoOqvDxc6eMB8GA1UdIwQYMBaAFOSC1XrZ6+PtyKidAiOo
OqvDxc6eMBkGA1UdEQQSMBCCDndhcmVob3VzZS50ZXN0MA8GA1UdEwEB/wQFMAMB
Af8wCgYIKoZIzj0EAwIDSAAwRQIhALnfr4S+VrzsnxYOyXYHn7JoucTGtq3mC4fi
Rvvzn+a7AiArKp14XSFGxqhhPSRwi9R8R7ybgw8k7t6DnT3Zcw3atQ==
-----END CERTIFICATE-----
`;
export const privateKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgLM+GINhpc/H7e0gv
vfSq+BMUIzm8aopYHI87GLKZhiShRANCAATP2PLggRa0BhrlX+JC5C9PvAe/4Fte
v6ObhLTeHJq04zg7DlpNkCxXiASBDUWbllye3m93m7PAazaHSeFOi1W1
-----END PRIVATE KEY-----
`;
