import { createHmac } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { exportPKCS8, exportSPKI, generateKeyPair } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { fileKeys, remoteKeys } from '../../src/identity/keys.ts';
import { type Authenticate, createAuthenticator } from '../../src/identity/verify.ts';
import { createSigner, type JwksServer, ordinaryClaims, type Signer, startJwksServer, TENANT } from './issuer.ts';

const COOLDOWN = 30_000;
const MAX_AGE = 600_000;

describe('keys from a JWKS URL', () => {
  let first: Signer;
  let second: Signer;
  let server: JwksServer;
  let authenticate: Authenticate;

  beforeAll(async () => {
    first = await createSigner('ES256', 'first');
    second = await createSigner('RS256', 'second');
  });
  beforeEach(async () => {
    // Only the clock is faked, to skip minutes. Everything else is real.
    vi.useFakeTimers({ toFake: ['Date'] });
    server = await startJwksServer(first);
    authenticate = createAuthenticator({
      isRevoked: () => false,
      keys: remoteKeys({ url: new URL(server.url), cooldownMs: COOLDOWN, maxAgeMs: MAX_AGE }),
    });
  });
  afterEach(async () => {
    vi.useRealTimers();
    await server.close();
  });

  const pass = (milliseconds: number): unknown => vi.setSystemTime(Date.now() + milliseconds);
  const outcome = async (token: Promise<string>): Promise<string> =>
    authenticate(await token).then(
      (actor) => `welcome ${actor.userId}`,
      (error: { code: string }) => error.code,
    );
  const flood = (): Promise<string[]> =>
    Promise.all(Array.from({ length: 50 }, (_unused, index) => outcome(first.sign({}, { kid: `unknown-${index}` }))));

  it('are fetched once for many concurrent tokens and then cached', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => outcome(first.sign())));
    expect(new Set(answers)).toEqual(new Set(['welcome anna']));
    await outcome(first.sign());
    expect(server.fetches).toBe(1);
  });

  it('are fetched at most once per cooldown for any number of unknown key ids', async () => {
    for (const fetches of [1, 2, 3]) {
      expect(new Set(await flood())).toEqual(new Set(['invalid_token']));
      expect(new Set(await flood())).toEqual(new Set(['invalid_token']));
      expect(server.fetches).toBe(fetches);
      pass(COOLDOWN);
    }
  });

  it('follow a rotation after the cooldown', async () => {
    expect(await outcome(first.sign())).toBe('welcome anna');
    server.answer = { keys: [first.publicJwk, second.publicJwk] };
    pass(COOLDOWN);
    expect(await outcome(second.sign())).toBe('welcome anna');
    expect(await outcome(first.sign())).toBe('welcome anna');
  });

  it('that were withdrawn are refused when the cached set exceeds its maximum age', async () => {
    expect(await outcome(first.sign())).toBe('welcome anna');
    server.answer = { keys: [second.publicJwk] };
    pass(MAX_AGE);
    expect(await outcome(first.sign())).toBe('invalid_token');
  });

  it('stay valid during an outage of the identity service of any length', async () => {
    expect(await outcome(first.sign())).toBe('welcome anna');
    await server.close();
    for (let round = 0; round < 3; round += 1) {
      pass(MAX_AGE);
      expect(await outcome(first.sign())).toBe('welcome anna');
    }
  });

  it.each([
    ['an error page', { status: 502, body: '<html>' }],
    ['a redirect', { status: 302, body: '' }],
    ['HTML instead of JSON', { status: 200, body: '<html>' }],
    ['JSON that is not a key set', { status: 200, body: '{"keys":"none"}' }],
  ])('stay valid when the identity service answers with %s', async (_what, answer) => {
    server.answer = answer;
    expect(await outcome(first.sign())).toBe('identity_unavailable');
    server.answer = { keys: [first.publicJwk] };
    pass(COOLDOWN);
    expect(await outcome(first.sign())).toBe('welcome anna');
    server.answer = answer;
    pass(MAX_AGE);
    expect(await outcome(first.sign())).toBe('welcome anna');
    expect(server.fetches).toBe(3);
  });

  it('that could not be fetched are not requested again before the end of the cooldown', async () => {
    server.answer = { status: 503, body: '' };
    const answers = [...(await flood()), ...(await flood())];
    expect(new Set(answers)).toEqual(new Set(['identity_unavailable']));
    expect(server.fetches).toBe(1);
  });
});

describe('keys from a file', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'notification-keys-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const keysOf = async (text: string) => {
    const path = join(folder, `key-${crypto.randomUUID()}`);
    await writeFile(path, text);
    return fileKeys(path);
  };

  it.each(['RS256', 'RS512', 'PS256', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'])(
    'verify %s tokens with a public key in PEM format, regardless of the key id of the token',
    async (alg) => {
      const signer = await createSigner(alg, 'some-key');
      const authenticate = createAuthenticator({
        isRevoked: () => false,
        keys: await keysOf(await exportSPKI(signer.publicKey)),
      });
      expect(await authenticate(await signer.sign())).toMatchObject({ userId: 'anna', tenantId: TENANT });
      expect(await authenticate(await signer.sign({}, { kid: undefined }))).toMatchObject({ userId: 'anna' });
      const stranger = await createSigner(alg, 'some-key');
      await expect(authenticate(await stranger.sign())).rejects.toMatchObject({ code: 'invalid_token' });
    },
  );

  it('do not accept a token signed with the public key as HMAC secret', async () => {
    const signer = await createSigner('RS256', 'k');
    const pem = await exportSPKI(signer.publicKey);
    const authenticate = createAuthenticator({ isRevoked: () => false, keys: await keysOf(pem) });
    const encode = (part: unknown): string => Buffer.from(JSON.stringify(part)).toString('base64url');
    const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(ordinaryClaims())}`;
    for (const secret of [pem, pem.trim()]) {
      const forged = `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
      await expect(authenticate(forged)).rejects.toMatchObject({ code: 'invalid_token', status: 401 });
    }
  });

  it('may be a JWKS with several key ids', async () => {
    const signers = [await createSigner('ES256', 'a'), await createSigner('ES256', 'b')];
    const keys = await keysOf(JSON.stringify({ keys: signers.map((signer) => signer.publicJwk) }));
    const authenticate = createAuthenticator({ isRevoked: () => false, keys });
    for (const signer of signers) expect(await authenticate(await signer.sign())).toMatchObject({ userId: 'anna' });
  });

  it('refuse a private key and other content, so that the service does not start', async () => {
    const { privateKey } = await generateKeyPair('ES256', { extractable: true });
    for (const text of ['', 'hello', '{"keys": 1}', await exportPKCS8(privateKey)]) {
      await expect(keysOf(text)).rejects.toThrow('JWT_PUBLIC_KEY_PATH');
    }
  });
});
