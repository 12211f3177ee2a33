/**
 * Forms in which relays name the id of an accepted mail, after the reply codes are removed. The first that matches counts.
 */
const FORMS: readonly RegExp[] = [
  // Postfix, SendGrid, Mailpit, Brevo, Amazon WorkMail. A filter in front of the queue repeats the reply of the queue.
  /\bqueued as:? +<?([^\s<>;,]+)/i,
  // Exim.
  /\bid=([^\s;,\]]+)/i,
  // Stalwart.
  /\bqueued with id:? +([^\s;,]+)/i,
  // Exchange. Its Message-ID follows only when there is no internal id.
  /\[InternalId=(\d+)/i,
  // Haraka.
  /\bMessage Queued \(([^\s()]+)\)/i,
  // Gmail: the last word before its signature.
  /^OK\s+\d+\s+(\S+) - gsmtp$/i,
  // qmail.
  /^OK (\d+ qp \d+)$/i,
  // IronPort.
  /\bMessage (\d+) accepted/i,
  // Sendmail, OpenSMTPD, Kerio, Proofpoint.
  /^(?:\d\.\d\.\d\s+)?<?([^\s<>]+)>? Message accepted for delivery/i,
  // IIS.
  /^<([^\s<>]+)> Queued mail for delivery/i,
  // Outlook.com.
  /^OK <([^\s<>]+)>/i,
  // Amazon SES, SparkPost, Courier: one word after OK.
  /^OK[:.]? +(\S+)$/i,
];

const MAX_LENGTH = 200;

/**
 * Returns the id under which a relay queued a mail, from its reply to the content.
 *
 * @returns undefined when the reply contains no id.
 */
export function queueIdOf(response: string): string | undefined {
  const text = response
    .slice(0, 2_000)
    .split(/[\r\n]+/)
    .map((line) => line.trim().replace(/^\d{3}(?:[ -]|$)(?:2\.\d{1,3}\.\d{1,3}\b)?\s*/, ''))
    .join(' ')
    .trim();
  for (const form of FORMS) {
    const id = form.exec(text)?.[1]?.replace(/[.,:]+$/, '');
    // Words such as `queued` or `accepted` contain no digit.
    if (id !== undefined && id.length <= MAX_LENGTH && /\d/.test(id) && /^[\x20-\x7e]+$/.test(id)) return id;
  }
  return undefined;
}
