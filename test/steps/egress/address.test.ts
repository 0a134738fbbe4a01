import { expect, test } from "vitest";
import { blockContains, isGlobalUnicast, parseAddress, parseAddressBlock } from "../../../src/steps/egress/address.ts";
import { hostnameOf } from "../../../src/steps/egress/egress-rules.ts";

function isPublic(text: string): boolean {
  const address = parseAddress(text);
  return address !== undefined && isGlobalUnicast(address);
}

test.each([
  "1.1.1.1",
  "8.8.8.8",
  "9.255.255.255",
  "11.0.0.0",
  "100.63.255.255",
  "100.128.0.0",
  "126.255.255.255",
  "128.0.0.0",
  "168.63.129.15",
  "168.63.129.17",
  "172.15.255.255",
  "172.32.0.0",
  "192.0.1.1",
  "192.167.255.255",
  "192.169.0.0",
  "198.17.255.255",
  "198.20.0.0",
  "203.0.112.255",
  "203.0.114.0",
  "223.255.255.255",
  "2606:4700::1111",
  "2a00:1450:4001::1",
  "2001:200::1",
  "2001:4860:4860::8888",
  "::ffff:8.8.8.8",
  "64:ff9b::808:808",
  "2a00::8.8.8.8",
])("%s is public", (text) => {
  expect(isPublic(text)).toBe(true);
});

test.each([
  "0.0.0.0",
  "0.1.2.3",
  "10.0.0.1",
  "10.255.255.255",
  "100.64.0.1",
  "100.100.100.200",
  "100.127.255.255",
  "127.0.0.1",
  "127.255.255.254",
  "168.63.129.16",
  "169.254.169.254",
  "172.16.0.1",
  "172.31.255.255",
  "192.0.0.1",
  "192.0.0.192",
  "192.0.2.1",
  "192.88.99.1",
  "192.168.0.1",
  "198.18.0.1",
  "198.19.255.255",
  "198.51.100.1",
  "203.0.113.1",
  "224.0.0.1",
  "239.255.255.250",
  "240.0.0.1",
  "255.255.255.255",
])("%s is not public", (text) => {
  expect(isPublic(text)).toBe(false);
});

test.each([
  ["any", "::"],
  ["loopback", "::1"],
  ["unique local", "fd00:ec2::254"],
  ["link local", "fe80::1"],
  ["site local", "fec0::1"],
  ["multicast", "ff02::1"],
  ["documentation", "2001:db8::1"],
  ["new documentation", "3fff::1"],
  ["6bone", "3ffe::1"],
  ["discard", "100::1"],
  ["segment routing", "5f00::1"],
  ["mapped loopback", "::ffff:127.0.0.1"],
  ["mapped loopback in hex", "::ffff:7f00:1"],
  ["mapped metadata", "::ffff:a9fe:a9fe"],
  ["compatible loopback", "::127.0.0.1"],
  ["compatible public", "::8.8.8.8"],
  ["translated", "::ffff:0:127.0.0.1"],
  ["NAT64 loopback", "64:ff9b::7f00:1"],
  ["NAT64 private", "64:ff9b::10.0.0.1"],
  ["local NAT64", "64:ff9b:1::a00:1"],
  ["local NAT64 of a public one", "64:ff9b:1::808:808"],
  ["6to4 of loopback", "2002:7f00:1::"],
  ["6to4 of a public one", "2002:808:808::1"],
  ["Teredo", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
  ["ORCHID", "2001:20::1"],
  ["benchmarking", "2001:2::1"],
  ["ISATAP of a private one", "2a00:1450::5efe:10.0.0.1"],
  ["ISATAP, global bit", "2a00:1450::200:5efe:a00:1"],
])("%s (%s) is not public", (_, text) => {
  expect(isPublic(text)).toBe(false);
});

test.each(["", "127.1", "0x7f.0.0.1", "0177.0.0.1", "2130706433", "127.0.0.1.", " 127.0.0.1", "fe80::1%eth0", "::ffff:999.1.1.1", "localhost", "１２７.0.0.1"])(
  "%j is not read as an address at all",
  (text) => {
    expect(parseAddress(text)).toBeUndefined();
  },
);

test.each([
  "http://2130706433/",
  "http://0x7f000001/",
  "http://0x7f.1/",
  "http://017700000001/",
  "http://0177.0.0.1/",
  "http://127.1/",
  "http://127.0.1/",
  "http://１２７.０.０.１/",
  "http://①②⑦.⓪.⓪.①/",
  "http://127。0。0。1/",
  "http://%31%32%37.0.0.1/",
  "http://127.0.0.1./",
  "http://[::ffff:127.0.0.1]/",
  "http://[::ffff:7f00:1]/",
  "http://[0:0:0:0:0:ffff:7f00:0001]/",
  "http://0/",
  "http://[::]/",
  "http://[::1]/",
  "http://[0000::0001]/",
  "http://[::127.0.0.1]/",
  "http://[64:ff9b::127.0.0.1]/",
  "http://3232235521/",
  "http://0xa9fea9fe/",
  "http://169.254.43518/",
])("%s is seen through, however it is spelled", (spelling) => {
  const hostname = hostnameOf(new URL(spelling));
  expect(parseAddress(hostname), hostname).toBeDefined();
  expect(isPublic(hostname), hostname).toBe(false);
});

test("a block holds its own addresses and no neighbours, whatever bits its base has set", () => {
  const block = parseAddressBlock("10.1.2.3/8");
  const holds = (text: string): boolean => blockContains(block as never, parseAddress(text) as never);
  expect([holds("10.0.0.0"), holds("10.255.255.255"), holds("::ffff:10.9.9.9")]).toEqual([true, true, true]);
  expect([holds("9.255.255.255"), holds("11.0.0.0"), holds("::10.0.0.1")]).toEqual([false, false, false]);
});

test.each(["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8", "::/129", "::ffff:10.0.0.0/104", "nonsense/8"])("%s is refused as a block", (text) => {
  expect(parseAddressBlock(text)).toBeUndefined();
});
