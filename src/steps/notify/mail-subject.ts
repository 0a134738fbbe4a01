/** The subject as a header. Encoded words are made here: what only looks like one would be decoded by the reader, line breaks and all. */

/** Bytes of one encoded word, so that the first one stands in the line of the name. */
const wordBytesMax = 36;

/** ASCII without line breaks. Plain words stay readable; everything else becomes encoded words (RFC 2047), each of whole characters. */
export function encodeSubject(subject: string): string {
  const isPlain = /^[!-~]{1,50}(?: [!-~]{1,50})*$/.test(subject) && !subject.includes("=?");
  if (isPlain || subject === "") return subject;
  const words: string[] = [];
  let word = "";
  for (const character of subject) {
    if (Buffer.byteLength(word + character) > wordBytesMax) {
      words.push(word);
      word = "";
    }
    word += character;
  }
  return [...words, word].map((text) => `=?UTF-8?B?${Buffer.from(text).toString("base64")}?=`).join(" ");
}
