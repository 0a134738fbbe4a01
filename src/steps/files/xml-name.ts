/** Names that XML elements and attributes may have here: no colons, so no namespaces. */
const elementName = /^[\p{L}_][\p{L}\p{N}_.-]*$/u;

export function isElementName(name: string): boolean {
  return elementName.test(name);
}
