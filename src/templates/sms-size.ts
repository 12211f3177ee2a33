/** Encodings of an SMS (3GPP TS 23.038): 7 bits a character, or UTF-16. */
export const SMS_ENCODINGS = ['gsm_7', 'ucs_2'] as const;
export type SmsEncoding = (typeof SMS_ENCODINGS)[number];

/** Size of an SMS, by which providers charge. */
export interface SmsSize {
  encoding: SmsEncoding;
  /** Number of 7-bit characters, where some count twice, or of UTF-16 units, where an emoji counts twice. */
  characters: number;
  /** Number of messages that are sent. */
  segments: number;
}

const BASIC = new Set(
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?' +
    '¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà',
);
/** Characters that follow an escape character, so that they count twice. */
const EXTENDED = new Set('\f^{}\\[~]|€');

/** Units of one message, and of each part of a longer text, which has a header. */
const LIMITS: Record<SmsEncoding, { single: number; part: number }> = {
  gsm_7: { single: 160, part: 153 },
  ucs_2: { single: 70, part: 67 },
};

/** Returns encoding and number of segments of an SMS. National language tables are not used, because few gateways do. */
export function smsSize(text: string): SmsSize {
  const letters = [...text];
  const isGsm = letters.every((letter) => BASIC.has(letter) || EXTENDED.has(letter));
  const encoding: SmsEncoding = isGsm ? 'gsm_7' : 'ucs_2';
  const sizes = letters.map((letter) => (isGsm ? (EXTENDED.has(letter) ? 2 : 1) : letter.length));
  const characters = sizes.reduce((sum, size) => sum + size, 0);
  const { single, part } = LIMITS[encoding];
  if (characters <= single) return { encoding, characters, segments: characters === 0 ? 0 : 1 };
  let segments = 1;
  let used = 0;
  for (const size of sizes) {
    // A character is not divided between two segments.
    if (used + size > part) {
      segments += 1;
      used = 0;
    }
    used += size;
  }
  return { encoding, characters, segments };
}
