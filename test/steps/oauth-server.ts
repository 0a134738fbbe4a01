/** A service behind OAuth2 and its token endpoint, over real sockets; the endpoint answers as the test says. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface TokenCall {
  readonly headers: IncomingHttpHeaders;
  readonly form: URLSearchParams;
}

export interface OAuthServer extends AsyncDisposable {
  readonly origin: string;
  readonly tokenCalls: TokenCall[];
  /** `authorization` of every call of the service itself. */
  readonly calls: string[];
  /** Tokens that the service takes; any other one is answered 401. */
  readonly valid: Set<string>;
  /** What the token endpoint answers from now on. */
  answer: (response: ServerResponse, count: number) => void;
}

export async function startOAuthServer(): Promise<OAuthServer> {
  const tokenCalls: TokenCall[] = [];
  const calls: string[] = [];
  const valid = new Set<string>();
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (request.url === "/token") {
      tokenCalls.push({ headers: request.headers, form: new URLSearchParams(Buffer.concat(chunks).toString()) });
      return oauth.answer(response, tokenCalls.length);
    }
    const authorization = String(request.headers.authorization ?? "");
    calls.push(authorization);
    const isValid = valid.has(authorization.replace(/^Bearer /, ""));
    response.writeHead(isValid ? 200 : 401, { "content-type": "application/json" }).end(JSON.stringify({ seen: authorization }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const oauth: OAuthServer = {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    tokenCalls,
    calls,
    valid,
    answer: (response, count) => grant(response, `token-number-${count}`, valid),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return oauth;
}

/** A regular answer with this token, which the service takes from then on. */
export function grant(response: ServerResponse, token: string, valid?: Set<string>, more: object = { expires_in: 3600 }): void {
  valid?.add(token);
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ access_token: token, token_type: "Bearer", ...more }));
}
