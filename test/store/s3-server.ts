/** An S3-compatible server for tests: objects in memory, signatures checked by the published algorithm (Signature Version 4). */
import { createHash, createHmac } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

export interface S3Server extends AsyncDisposable {
  readonly endpoint: string;
  readonly objects: Map<string, Buffer>;
  /** Answers this status to everything while it is set. */
  trouble: number | undefined;
  readonly refused: string[];
}

const accessKeyId = "test-access-key";
const secretAccessKey = "test-secret-key";
export const s3Credentials = { accessKeyId, secretAccessKey, bucket: "files", region: "eu-test-1" };

export async function startS3(): Promise<S3Server> {
  const objects = new Map<string, Buffer>();
  const refused: string[] = [];
  const state: { trouble: number | undefined } = { trouble: undefined };
  const server = createServer(async (request, response) => {
    const body: Buffer[] = [];
    for await (const piece of request) body.push(piece as Buffer);
    const name = (request.url ?? "").split("?")[0] as string;
    const answer = (status: number, bytes?: Buffer): void => void response.writeHead(status).end(bytes);
    if (state.trouble !== undefined) return answer(state.trouble);
    const problem = signatureProblem(request);
    if (problem) {
      refused.push(problem);
      return answer(403);
    }
    const object = objects.get(name);
    if (request.method === "PUT") {
      objects.set(name, Buffer.concat(body));
      return answer(200);
    }
    if (request.method === "DELETE") {
      objects.delete(name);
      return answer(204);
    }
    if (!object) return answer(404);
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    return range ? answer(206, object.subarray(Number(range[1]), Number(range[2]) + 1)) : answer(200, object);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(state, {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    objects,
    refused,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const hmac = (key: string | Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();

function signatureProblem(request: IncomingMessage): string | undefined {
  const match = /^AWS4-HMAC-SHA256 Credential=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(request.headers.authorization ?? "");
  if (!match) return "no signature";
  const [, credential, signedHeaders, signature] = match as unknown as [string, string, string, string];
  const [id, date, region, service] = credential.split("/");
  if (id !== accessKeyId || region !== s3Credentials.region || service !== "s3" || !date) return "wrong credential";
  const url = new URL(request.url ?? "/", "http://host");
  const headers = signedHeaders.split(";").map((name) => `${name}:${String(request.headers[name] ?? "").trim()}\n`);
  const payload = String(request.headers["x-amz-content-sha256"]);
  const canonical = [request.method, url.pathname, url.searchParams.toString(), headers.join(""), signedHeaders, payload].join("\n");
  const text = ["AWS4-HMAC-SHA256", request.headers["x-amz-date"], `${date}/${region}/s3/aws4_request`, sha256(canonical)].join("\n");
  const key = hmac(hmac(hmac(hmac(`AWS4${secretAccessKey}`, date), region), "s3"), "aws4_request");
  return hmac(key, text).toString("hex") === signature ? undefined : "wrong signature";
}
