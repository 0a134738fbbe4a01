/**
 * E-mail addresses, strictly: one field is one address, no display names, no groups, no comments, no lists, nothing that a header
 * could begin with. What RFC 5321 allows beyond that (quoted local parts, address literals) is refused: no mailbox in use needs it, and
 * every injection found in mailers does.
 */

const local = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/;
const domain = /^(?=.{1,255}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+$/;

/** What is wrong with an address, or undefined. */
export function mailAddressProblem(text: string): string | undefined {
  const at = text.lastIndexOf("@");
  if (text.length > 320 || at < 1 || at > 64) return "is not one e-mail address like ada@example.com";
  if (!local.test(text.slice(0, at)) || !domain.test(text.slice(at + 1))) return "is not one e-mail address like ada@example.com";
  return undefined;
}
