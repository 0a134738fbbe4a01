/** A real SMTP server for tests (the library's own server), with TLS by a certificate made for it, and a list of what arrived. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { SMTPServer } from "smtp-server";

export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  readonly raw: Buffer;
  readonly user: string | undefined;
  readonly isSecure: boolean;
}

export interface TestSmtp extends AsyncDisposable {
  readonly port: number;
  readonly received: ReceivedMail[];
  /** Refuses every recipient with this code while it is set. */
  refuseWith: number | undefined;
}

export async function startSmtp(
  options: { readonly tls?: { readonly key: string; readonly cert: string }; readonly login?: readonly [string, string] } = {},
): Promise<TestSmtp> {
  const received: ReceivedMail[] = [];
  const state: { refuseWith: number | undefined } = { refuseWith: undefined };
  const server = new SMTPServer({
    authOptional: !options.login,
    hideSTARTTLS: !options.tls,
    disabledCommands: options.login ? [] : ["AUTH"],
    ...(options.tls ?? {}),
    logger: false,
    onAuth({ username, password }, _session, done) {
      const [user, secret] = options.login ?? [];
      if (username === user && password === secret) done(null, { user: username });
      else done(new Error("wrong password"));
    },
    onRcptTo(_address, _session, done) {
      if (state.refuseWith === undefined) return done();
      done(Object.assign(new Error("not now"), { responseCode: state.refuseWith }));
    },
    onData(stream, session, done) {
      const pieces: Buffer[] = [];
      stream.on("data", (piece: Buffer) => pieces.push(piece));
      stream.on("end", () => {
        const { mailFrom, rcptTo } = session.envelope;
        received.push({
          from: mailFrom ? mailFrom.address : "",
          to: rcptTo.map(({ address }) => address),
          raw: Buffer.concat(pieces),
          user: session.user as string | undefined,
          isSecure: session.secure,
        });
        done();
      });
    },
  });
  server.on("error", () => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(state, {
    port: (server.server.address() as AddressInfo).port,
    received,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  });
}

/** A certificate for 127.0.0.1 that signs itself, or undefined where there is no openssl. */
export function selfSigned(): { readonly key: string; readonly cert: string; readonly file: string; remove(): void } | undefined {
  const folder = mkdtempSync(path.join(tmpdir(), "pawf-smtp-"));
  const [key, cert] = [path.join(folder, "key.pem"), path.join(folder, "cert.pem")];
  try {
    const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
    execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2", ...subject], { stdio: "ignore" });
  } catch {
    rmSync(folder, { recursive: true });
    return undefined;
  }
  return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8"), file: cert, remove: () => rmSync(folder, { recursive: true }) };
}
