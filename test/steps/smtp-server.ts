/** A real SMTP server for tests (the library's own server), with TLS if it gets a certificate, and a list of what arrived. */
import type { AddressInfo } from "node:net";
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
  /** Names that somebody tried to log in with. */
  readonly logins: string[];
  /** Refuses every recipient with this code while it is set. */
  refuseWith: number | undefined;
}

export async function startSmtp(
  options: {
    readonly tls?: { readonly key: string; readonly cert: string };
    /** TLS from the first byte instead of STARTTLS. */
    readonly isImplicit?: boolean;
    readonly login?: readonly [string, string];
  } = {},
): Promise<TestSmtp> {
  const received: ReceivedMail[] = [];
  const logins: string[] = [];
  const state: { refuseWith: number | undefined } = { refuseWith: undefined };
  const server = new SMTPServer({
    authOptional: !options.login,
    secure: options.isImplicit === true,
    hideSTARTTLS: !options.tls,
    disabledCommands: options.login ? [] : ["AUTH"],
    ...(options.tls ?? {}),
    logger: false,
    closeTimeout: 200,
    onAuth({ username, password }, _session, done) {
      logins.push(username ?? "");
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
    logins,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  });
}
