import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

/** A certificate and its private key, both in PEM format. */
export interface Certificate {
  cert: string;
  key: string;
}

export interface CertificateOptions {
  name: string;
  /** Host names of the certificate. */
  hosts?: string[];
  /** IPv4 addresses of the certificate. */
  addresses?: string[];
  notBefore?: Date;
  notAfter?: Date;
  /** Authority that signs it. Default: the certificate itself. */
  issuer?: Authority;
  isAuthority?: boolean;
}

export interface Authority extends Certificate {
  name: string;
  privateKey: KeyObject;
}

const DAY_MS = 86_400_000;

/** Creates an X.509 certificate (RFC 5280) with an EC key. */
export function createCertificate(options: CertificateOptions): Authority {
  const { name, hosts = [], addresses = [], issuer, isAuthority = false } = options;
  const { notBefore = new Date(Date.now() - DAY_MS), notAfter = new Date(Date.now() + 30 * DAY_MS) } = options;
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const ecdsaWithSha256 = der(0x30, oid([1, 2, 840, 10_045, 4, 3, 2]));
  const alternatives = [
    ...hosts.map((host) => der(0x82, Buffer.from(host))),
    ...addresses.map((address) => der(0x87, Buffer.from(address.split('.').map(Number)))),
  ];
  const extensions = [
    extension([2, 5, 29, 19], der(0x30, ...(isAuthority ? [der(0x01, Buffer.from([0xff]))] : []))),
    ...(alternatives.length > 0 ? [extension([2, 5, 29, 17], der(0x30, ...alternatives))] : []),
  ];
  const content = der(
    0x30,
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1, ...Buffer.from(String(Date.now() % 1_000_000))])),
    ecdsaWithSha256,
    distinguishedName(issuer?.name ?? name),
    der(0x30, time(notBefore), time(notAfter)),
    distinguishedName(name),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, der(0x30, ...extensions)),
  );
  const signature = sign('sha256', content, issuer?.privateKey ?? privateKey);
  const certificate = der(0x30, content, ecdsaWithSha256, der(0x03, Buffer.from([0]), signature));
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return {
    name,
    privateKey,
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
  };
}

/** Encodes a value with its tag and length (DER, X.690). */
function der(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head = length < 0x80 ? [length] : length < 0x1_00 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), content]);
}

function oid([first = 0, second = 0, ...rest]: number[]): Buffer {
  const bytes = rest.flatMap((part) => {
    const groups = [part & 0x7f];
    for (let left = part >> 7; left > 0; left >>= 7) groups.unshift((left & 0x7f) | 0x80);
    return groups;
  });
  return der(0x06, Buffer.from([first * 40 + second, ...bytes]));
}

const extension = (id: number[], value: Buffer): Buffer => der(0x30, oid(id), der(0x04, value));

const distinguishedName = (name: string): Buffer =>
  der(0x30, der(0x31, der(0x30, oid([2, 5, 4, 3]), der(0x0c, Buffer.from(name)))));

/** GeneralizedTime, e.g. `20260102030405Z`. */
const time = (date: Date): Buffer => der(0x18, Buffer.from(date.toISOString().replaceAll(/[-:T]|\.\d+/g, '')));
