import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer, type Server } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/base/clock.ts";
import { type Log, silentLog } from "../../../src/base/log.ts";
import { failure } from "../../../src/domain/failure.ts";
import { createHttpEgress } from "../../../src/steps/egress/http-egress.ts";
import type { EgressOutcome, EgressRequest, HttpEgress } from "../../../src/steps/step-handler.ts";
import { certificate, privateKey } from "../grpc/certificate.ts";
import { type MisbehavingServer, startMisbehavingServer } from "../misbehaving-server.ts";
import { localEgress } from "../step-call.ts";

let server: MisbehavingServer;
let egress: HttpEgress & AsyncDisposable;
beforeAll(async () => {
  server = await startMisbehavingServer();
  egress = localEgress();
});
afterAll(async () => {
  await egress[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

function requestOf(url: string, facts: Partial<EgressRequest> = {}): EgressRequest {
  return { tenantId: "t", method: "GET", url, headers: {}, responseBytesMax: 1024 * 1024, redirectsMax: 0, signal: AbortSignal.timeout(10_000), ...facts };
}
function get(path: string, facts: Partial<EgressRequest> = {}): Promise<EgressOutcome> {
  return egress.request(requestOf(server.origin + path, facts));
}
function failedAs(outcome: EgressOutcome): string {
  return outcome.kind === "failed" ? `${outcome.failure.name} ${outcome.outcome}` : `answered ${outcome.status}`;
}
function bodyOf(outcome: EgressOutcome): string {
  if (outcome.kind !== "answered") throw new Error(JSON.stringify(outcome));
  return outcome.body.toString();
}

describe("an answer", () => {
  test("comes with status, headers and body", async () => {
    const outcome = await get("/echo", { method: "POST", body: "hello", headers: { "x-one": "1" } });
    expect(outcome).toMatchObject({ kind: "answered", status: 200, headers: { "content-type": "application/json" } });
    expect(JSON.parse(bodyOf(outcome))).toMatchObject({ method: "POST", body: "hello", headers: { "x-one": "1", "content-length": "5" } });
  });

  test.each(["gzip", "br", "deflate", "deflate-raw"])("in %s is decoded", async (encoding) => {
    expect(bodyOf(await get(`/${encoding}`))).toBe("plain words");
  });

  test("joins repeated headers and keeps __proto__ out", async () => {
    const outcome = await get("/proto-header");
    const headers = outcome.kind === "answered" ? outcome.headers : {};
    expect(headers["set-cookie"]).toBe("a=1, b=2");
    expect(Object.getPrototypeOf(headers)).toBe(Object.prototype);
    expect(Object.hasOwn(headers, "__proto__")).toBe(false);
  });

  test("to HEAD has no body, whatever its headers promise", async () => {
    expect(bodyOf(await get("/bomb", { method: "HEAD", responseBytesMax: 10 }))).toBe("");
  });

  test.each([
    ["endless", "LIMIT.BODY unknown"],
    ["huge-length", "LIMIT.BODY unknown"],
    ["bomb", "LIMIT.BODY unknown"],
    ["double-gzip", "LIMIT.BODY unknown"],
    ["huge-headers", "LIMIT.HEADERS unknown"],
    ["broken-gzip", "NETWORK unknown"],
    ["lying-length", "NETWORK unknown"],
    ["reset-early", "NETWORK unknown"],
    ["reset-late", "NETWORK unknown"],
  ])("that is %s ends as %s", async (path, expected) => {
    expect(failedAs(await get(`/${path}`))).toBe(expected);
  });

  test("with gzip hidden in gzip is decoded once and stays small", async () => {
    const outcome = await get("/hidden-double-gzip");
    expect(outcome.kind === "answered" && outcome.body.length < 20_000).toBe(true);
  });

  test("exactly as large as the cap is taken, one byte more is not", async () => {
    expect(failedAs(await get("/gzip", { responseBytesMax: 11 }))).toBe("answered 200");
    expect(failedAs(await get("/gzip", { responseBytesMax: 10 }))).toBe("LIMIT.BODY unknown");
    expect(failedAs(await get("/ok", { responseBytesMax: 11 }))).toBe("answered 200");
    expect(failedAs(await get("/ok", { responseBytesMax: 10 }))).toBe("LIMIT.BODY unknown");
  });
});

describe("the deadline", () => {
  test.each(["silent", "slow-body", "drip"])("ends a %s answer as a whole, with the signal's failure and unknown effect", async (path) => {
    const timeout = new AbortController();
    const before = server.seen.length;
    const answer = get(`/${path}`, { signal: timeout.signal });
    await expect.poll(() => server.seen.length).toBeGreaterThan(before);
    timeout.abort(failure("TIMEOUT.START_TO_CLOSE", "too long"));
    expect(failedAs(await answer)).toBe("TIMEOUT.START_TO_CLOSE unknown");
  });

  test("that is over before anything was sent leaves no effect and no request", async () => {
    const before = server.seen.length;
    expect(failedAs(await get("/ok", { signal: AbortSignal.abort(failure("CANCELED", "stop")) }))).toBe("CANCELED failed");
    expect(server.seen.length).toBe(before);
  });

  test("of a request that waits for a connection leaves no effect, and the request is never sent", async () => {
    await using narrow = localEgress({ connectionsPerOrigin: 1 });
    const first = new AbortController();
    const second = new AbortController();
    const blocked = narrow.request(requestOf(`${server.origin}/silent`, { signal: first.signal }));
    const queued = narrow.request(requestOf(`${server.origin}/echo/never`, { signal: second.signal, method: "POST" }));
    second.abort(failure("TIMEOUT.START_TO_CLOSE", "too long"));
    expect(failedAs(await queued)).toBe("TIMEOUT.START_TO_CLOSE failed");
    first.abort(failure("CANCELED", "stop"));
    expect(failedAs(await blocked)).toMatch(/^CANCELED/);
    expect(failedAs(await narrow.request(requestOf(`${server.origin}/ok`)))).toBe("answered 200");
    expect(server.seen.some(({ path }) => path.includes("never"))).toBe(false);
  });
});

describe("a target that is not open", () => {
  const closed = (facts: Partial<Parameters<typeof localEgress>[0]> = {}) => localEgress({ allow: [], ports: [server.port], ...facts });

  test.each([
    (port: number) => `http://127.0.0.1:${port}/ok`,
    (port: number) => `http://2130706433:${port}/ok`,
    (port: number) => `http://0x7f.1:${port}/ok`,
    (port: number) => `http://[::ffff:127.0.0.1]:${port}/ok`,
    (port: number) => `http://[::1]:${port}/ok`,
    (port: number) => `http://0:${port}/ok`,
    (port: number) => `http://localhost:${port}/ok`,
    (port: number) => `http://localhost.:${port}/ok`,
    (port: number) => `http://u:p@127.0.0.1:${port}/ok`,
    () => "http://169.254.169.254/latest/meta-data",
    () => "http://8.8.8.8:22/",
    () => "ftp://example.com/",
    () => "file:///etc/passwd",
    () => "data:text/plain,x",
    () => "http://",
    () => "/relative",
    () => "",
  ])("is refused before a packet leaves, with one and the same answer (%#)", async (urlOf) => {
    await using strict = closed();
    const connections = server.connections();
    const outcome = await strict.request(requestOf(urlOf(server.port)));
    expect(failedAs(outcome)).toBe("LIMIT.EGRESS failed");
    expect(outcome.kind === "failed" && outcome.failure.message).toMatch(
      /: this target is not open to steps; use http or https to a public host, or ask the operator to allow it$/,
    );
    expect(server.connections()).toBe(connections);
  });

  test.each([
    ["one private address among public ones", ["93.184.215.14", "10.0.0.1"]],
    ["a mapped one", ["::ffff:127.0.0.1"]],
    ["cloud metadata", ["169.254.169.254"]],
    ["nonsense", ["not-an-address"]],
  ])("looks like an unknown host when its name resolves to %s", async (_, addresses) => {
    await using strict = closed({ lookUp: async () => addresses });
    await using unknown = closed({ lookUp: async () => Promise.reject(new Error("ENOTFOUND")) });
    await using silent = closed({ lookUp: () => new Promise(() => undefined), connectTimeoutMs: 30 });
    const [refused, ...others] = await Promise.all([strict, unknown, silent].map((each) => each.request(requestOf("http://innocent.example.com/"))));
    expect(failedAs(refused as EgressOutcome)).toBe("NETWORK failed");
    for (const other of others) expect(other).toEqual(refused);
  });

  test("is not even looked up when its name means something inside a network only", async () => {
    const asked: string[] = [];
    await using strict = closed({
      lookUp: async (name) => {
        asked.push(name);
        return ["10.0.0.1"];
      },
    });
    for (const host of ["db", "db.internal", "a.b.svc.cluster.local", "printer.lan", "LOCALHOST", "db.", "db.internal.."]) {
      expect(failedAs(await strict.request(requestOf(`http://${host}/`)))).toBe("LIMIT.EGRESS failed");
    }
    expect(asked).toEqual([]);
  });

  test("is named as the request says when its URL is a secret, in failures and in logs", async () => {
    const told: string[] = [];
    const tell = (fields: object, message: string): void => void told.push(`${JSON.stringify(fields)} ${message}`);
    const log: Log = { ...silentLog, debug: tell, info: tell, warn: tell, error: tell };
    await using strict = closed({ log });
    await using local = localEgress({ log });
    const shownAs = "the webhook of slot chat";
    const outcomes = [
      await strict.request(requestOf("http://10.0.0.1/hooks/T0/hunter2", { shownAs })),
      await local.request(requestOf(`http://127.0.0.1:${await freePort()}/hooks/hunter2`, { shownAs })),
      await local.request(requestOf(`${server.origin}/reset-early/hunter2`, { shownAs })),
    ];
    for (const outcome of outcomes) expect(outcome.kind === "failed" && outcome.failure.message).toMatch(/^GET the webhook of slot chat/);
    expect(JSON.stringify(outcomes) + told.join()).not.toContain("hunter2");
    expect(told.length).toBeGreaterThanOrEqual(3);
  });

  test("never shows user, password or query in its message", async () => {
    await using strict = closed();
    const outcome = await strict.request(requestOf("http://root:hunter2@10.0.0.1/path?key=hunter2#hunter2"));
    expect(JSON.stringify(outcome)).not.toContain("hunter2");
    expect(JSON.stringify(outcome)).toContain("GET http://10.0.0.1/path");
  });
});

describe("what an operator opens", () => {
  test("is open for that address and port alone", async () => {
    await using one = localEgress({ allow: [`127.0.0.1:${server.port}`] });
    expect(failedAs(await one.request(requestOf(`${server.origin}/ok`)))).toBe("answered 200");
    expect(failedAs(await one.request(requestOf(`http://127.0.0.2:${server.port}/ok`)))).toBe("LIMIT.EGRESS failed");
    expect(failedAs(await one.request(requestOf("http://127.0.0.1:80/ok")))).toBe("LIMIT.EGRESS failed");
  });

  test("may be a block", async () => {
    await using block = localEgress({ allow: ["127.0.0.0/8:*"] });
    expect(failedAs(await block.request(requestOf(`${server.origin}/ok`)))).toBe("answered 200");
    expect(failedAs(await block.request(requestOf(`http://2130706433:${server.port}/ok`)))).toBe("answered 200");
  });

  test("may be a name, which then may lead to private addresses but not to link-local ones", async () => {
    const names: Record<string, string[]> = { "orders.internal": ["127.0.0.1"], "trap.internal": ["169.254.169.254"] };
    await using named = localEgress({ allow: ["orders.internal:*", "trap.internal:*"], lookUp: async (name) => names[name] ?? [] });
    expect(failedAs(await named.request(requestOf(`http://Orders.Internal:${server.port}/ok`)))).toBe("answered 200");
    expect(server.seen.at(-1)?.headers.host).toBe(`orders.internal:${server.port}`);
    expect(failedAs(await named.request(requestOf(`http://trap.internal:${server.port}/ok`)))).toBe("NETWORK failed");
    expect(failedAs(await named.request(requestOf(`http://other.internal:${server.port}/ok`)))).toBe("LIMIT.EGRESS failed");
  });

  test("never includes our own port or the database", async () => {
    await using own = localEgress({ allow: ["127.0.0.0/8:*"], forbiddenPorts: [server.port] });
    expect(failedAs(await own.request(requestOf(`${server.origin}/ok`)))).toBe("LIMIT.EGRESS failed");
    await using database = localEgress({ allow: ["127.0.0.0/8:*"], forbidden: [`db.internal:${server.port}`], lookUp: async () => ["127.0.0.1"] });
    expect(failedAs(await database.request(requestOf(`${server.origin}/ok`)))).toBe("LIMIT.EGRESS failed");
  });

  test.each(["127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", "10.0.0.0/99:80", "::1:80", "http://a:80", "a b:80", ""])(
    "is refused at start when it reads %j",
    (entry) => {
      expect(() => createHttpEgress({ allow: [entry], log: silentLog, clock: systemClock })).toThrow(/egress entry/);
    },
  );

  test("goes to the address that was vetted, even if the name changes its mind", async () => {
    let asked = 0;
    await using moving = localEgress({ allow: ["127.0.0.1:*"], lookUp: async () => (++asked === 1 ? ["127.0.0.1"] : ["127.0.0.2"]) });
    expect(failedAs(await moving.request(requestOf(`http://rebind.example.com:${server.port}/ok`)))).toBe("answered 200");
    expect(asked).toBe(1);
  });
});

describe("a connection that does not come about", () => {
  test("leaves no effect: refused port", async () => {
    const unused = await freePort();
    const outcome = await egress.request(requestOf(`http://127.0.0.1:${unused}/`, { method: "POST" }));
    expect(failedAs(outcome)).toBe("NETWORK failed");
    expect(JSON.stringify(outcome)).not.toMatch(/ECONN|stack|at /);
  });

  test("leaves no effect: unknown name, with the same words as a refused port", async () => {
    await using named = localEgress({ allow: [], lookUp: async () => Promise.reject(new Error("ENOTFOUND nobody.example.com")) });
    const outcome = await named.request(requestOf("http://nobody.example.com/"));
    expect(failedAs(outcome)).toBe("NETWORK failed");
    expect(outcome.kind === "failed" && outcome.failure.message).toMatch(/^GET http:\/\/nobody.example.com\/: no connection, nothing was sent/);
  });

  test("leaves no effect: a look-up or a handshake that never ends", async () => {
    await using lost = localEgress({ allow: [], connectTimeoutMs: 60, lookUp: () => new Promise(() => undefined) });
    expect(failedAs(await lost.request(requestOf("http://slow.example.com/")))).toBe("NETWORK failed");
    await using mute = await startMuteServer();
    await using tls = localEgress({ connectTimeoutMs: 60 });
    expect(failedAs(await tls.request(requestOf(`https://127.0.0.1:${mute.port}/`)))).toBe("NETWORK failed");
  });

  test("leaves no effect: a certificate that nobody vouches for, whatever the environment says", async () => {
    const dubious = createTlsServer({ cert: certificate, key: privateKey }, (_, response) => response.end("never"));
    await new Promise<void>((resolve) => dubious.listen(0, "127.0.0.1", resolve));
    const before = process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
    try {
      await using named = localEgress({ lookUp: async () => ["127.0.0.1"] });
      const { port } = dubious.address() as AddressInfo;
      expect(failedAs(await named.request(requestOf(`https://warehouse.test:${port}/`)))).toBe("NETWORK failed");
    } finally {
      if (before === undefined) delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
      else process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = before;
      await new Promise((resolve) => dubious.close(resolve));
    }
  });

  test("falls back to the next address of the same host", async () => {
    await using two = localEgress({ allow: ["127.0.0.0/8:*"], lookUp: async () => ["127.0.0.77", "127.0.0.1"] });
    expect(failedAs(await two.request(requestOf(`http://two.example.com:${server.port}/ok`)))).toBe("answered 200");
  });
});

describe("redirects", () => {
  test("are not followed unless asked for", async () => {
    expect(failedAs(await get("/redirect/302"))).toBe("answered 302");
  });

  test("of the same origin are followed: 303 as GET, 307 with method and body", async () => {
    const seeOther = await get("/redirect/303", { method: "POST", body: "x", redirectsMax: 1, headers: { "content-type": "text/plain" } });
    expect(JSON.parse(bodyOf(seeOther))).toMatchObject({ method: "GET", body: "" });
    expect(JSON.parse(bodyOf(seeOther)).headers).not.toHaveProperty("content-type");
    const same = await get("/redirect/307", { method: "POST", body: "x", redirectsMax: 1 });
    expect(JSON.parse(bodyOf(same))).toMatchObject({ method: "POST", body: "x" });
  });

  test.each(["http://169.254.169.254/", "http://localhost:80/", "https://example.com/", "//evil.example.com/", "http://u:p@127.0.0.1/", "file:///etc/passwd"])(
    "to %s are never followed, and the first request may have had its effect",
    async (target) => {
      expect(failedAs(await get(`/redirect-to/${encodeURIComponent(target)}`, { redirectsMax: 5 }))).toBe("LIMIT.REDIRECTS unknown");
    },
  );

  test("in a loop end at the limit", async () => {
    const before = server.seen.length;
    expect(failedAs(await get("/redirect-loop", { redirectsMax: 3 }))).toBe("LIMIT.REDIRECTS unknown");
    expect(server.seen.length - before).toBe(4);
  });

  test("to the same origin with a password in the address are refused", async () => {
    const target = `http://u:p@127.0.0.1:${server.port}/echo`;
    expect(failedAs(await get(`/redirect-to/${encodeURIComponent(target)}`, { redirectsMax: 5 }))).toBe("LIMIT.EGRESS unknown");
  });
});

test("a server that pushes without end costs little memory and the next request still works", async () => {
  const before = process.memoryUsage().rss;
  expect(failedAs(await get("/endless", { responseBytesMax: 5 * 1024 * 1024 }))).toBe("LIMIT.BODY unknown");
  expect(process.memoryUsage().rss - before).toBeLessThan(80 * 1024 * 1024);
  expect(failedAs(await get("/ok"))).toBe("answered 200");
});

test("closing twice is fine, and a closed egress answers instead of throwing", async () => {
  const closing = createHttpEgress({ allow: ["127.0.0.1:*"], log: silentLog, clock: systemClock });
  await closing.request(requestOf(`${server.origin}/ok`));
  await closing.close();
  await closing.close();
  expect(failedAs(await closing.request(requestOf(`${server.origin}/ok`)))).toBe("NETWORK failed");
});

async function freePort(): Promise<number> {
  await using mute = await startMuteServer();
  return mute.port;
}

async function startMuteServer(): Promise<AsyncDisposable & { port: number }> {
  const mute: Server = createServer((socket) => void socket.on("error", () => undefined).resume());
  await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
  return {
    port: (mute.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => mute.close(() => resolve())),
  };
}
