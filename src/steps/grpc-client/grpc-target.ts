/** Where a gRPC call goes: the `dns` scheme of gRPC's naming, which is also what a bare `host:port` means. */
import { fail, ok, type Result } from "../../base/result.ts";

/**
 * The origin of a target as a URL (`https://orders.example:443`), which the egress rules judge like any other. The fault is
 * a sentence for the definition's author.
 */
export function parseGrpcTarget(target: string, plaintext: boolean): Result<URL, string> {
  const [, scheme, rest = ""] = /^(?:([a-z][a-z0-9+.-]*):(?=\/\/))?(.*)$/s.exec(target) ?? [];
  if (scheme !== undefined && scheme !== "dns") return fail(`has the scheme ${scheme}; write dns:///host:port`);
  const address = scheme === undefined ? rest : /^\/\/\/(.*)$/s.exec(rest)?.[1];
  if (address === undefined) return fail("names a DNS server of its own, which is not possible; write dns:///host:port");
  const match = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/.exec(address);
  const port = match?.[2] === undefined ? 443 : Number(match[2]);
  if (!match || port < 1 || port > 65_535) return fail("is no target; write dns:///host:port");
  const text = `${plaintext ? "http" : "https"}://${match[1]}:${port}`;
  return URL.canParse(text) ? ok(new URL(text)) : fail("names no host; write dns:///host:port");
}
