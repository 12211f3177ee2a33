import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { ConfigError, readConfig } from '../src/config.ts';
import { projectRoot } from '../src/project-root.ts';

const PRODUCTION = {
  ENVIRONMENT: 'production',
  DATABASE_URL: 'postgres://app:pg-secret@db/notifications',
  REDIS_URL: 'redis://:redis-secret@redis:6379',
  KAFKA_BROKERS: 'kafka-1:9092, kafka-2:9092',
  JWKS_URL: 'https://identity/jw-certs',
};

function problemsOf(env: Record<string, string>): string[] {
  try {
    readConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error('expected a ConfigError');
}

describe('the configuration', () => {
  it('needs no variables in dev, and sends nothing', () => {
    const config = readConfig({ ENVIRONMENT: 'dev' });
    expect(config).toMatchObject({
      servicePort: 8080,
      serviceHost: '127.0.0.1',
      deliveryMode: 'sandbox',
      pubsubTopic: 'notification.triggered.v1',
      redisUrls: [],
    });
    expect(config.kafka).toBeUndefined();
    expect([...config.roles]).toEqual(['api', 'consumer', 'dispatcher']);
  });

  it('reads a production environment', () => {
    const config = readConfig({
      ...PRODUCTION,
      SERVICE_PORT: '9000',
      KAFKA_SASL_MECHANISM: 'scram-sha-512',
      KAFKA_USERNAME: 'app',
      KAFKA_PASSWORD: 'kafka-secret',
      KAFKA_SSL: 'true',
      REDIS_URL: 'redis://a:6379,redis://b:6379',
      ROLES: 'api, dispatcher',
    });
    expect(config).toMatchObject({
      servicePort: 9000,
      serviceHost: '0.0.0.0',
      deliveryMode: 'live',
      redisUrls: ['redis://a:6379', 'redis://b:6379'],
      kafka: {
        brokers: ['kafka-1:9092', 'kafka-2:9092'],
        ssl: true,
        sasl: { mechanism: 'scram-sha-512', username: 'app', password: 'kafka-secret' },
      },
    });
    expect([...config.roles]).toEqual(['api', 'dispatcher']);
  });

  it('defaults to production, and lists all missing variables together', () => {
    const problems = problemsOf({});
    for (const name of ['DATABASE_URL', 'REDIS_URL', 'KAFKA_BROKERS', 'JWKS_URL or JWT_PUBLIC_KEY_PATH']) {
      expect(
        problems.some((problem) => problem.startsWith(name)),
        name,
      ).toBe(true);
    }
    expect(problems).toHaveLength(4);
  });

  it('lists every invalid variable without values of secrets', () => {
    const problems = problemsOf({
      ENVIRONMENT: 'prod',
      SERVICE_PORT: '70000',
      ROLES: 'api,sender',
      LOG_LEVEL: 'loud',
      DELIVERY_MODE: 'maybe',
      DATABASE_URL: 'mysql://root:db-secret@db',
      REDIS_URL: 'http://:redis-secret@redis',
      KAFKA_BROKERS: 'kafka',
      KAFKA_SSL: 'yes',
      KAFKA_SASL_MECHANISM: 'gssapi',
      KAFKA_PASSWORD: 'kafka-secret',
      JWKS_URL: 'identity',
      JWT_PUBLIC_KEY_PATH: '/does/not/exist.pub',
      SMTP_PROVIDER_SECRET: 'mail-secret',
      TENANT_CONFIG_SECRET_PATH: '/does/not/exist',
    });
    const named = problems.map((problem) => /^[A-Z_]+/.exec(problem)?.[0]);
    for (const name of [
      'ENVIRONMENT',
      'SERVICE_PORT',
      'ROLES',
      'LOG_LEVEL',
      'DELIVERY_MODE',
      'DATABASE_URL',
      'REDIS_URL',
      'KAFKA_BROKERS',
      'KAFKA_SSL',
      'KAFKA_SASL_MECHANISM',
      'KAFKA_USERNAME',
      'JWKS_URL',
      'JWT_PUBLIC_KEY_PATH',
      'SMTP_PROVIDER_SECRET',
      'TENANT_CONFIG_SECRET_PATH',
    ]) {
      expect(named, name).toContain(name);
    }
    expect(problems.join('\n')).not.toMatch(/-secret/);
  });

  it('requires exactly one source of keys, and complete SASL settings', () => {
    const readable = join(projectRoot, 'package.json');
    expect(problemsOf({ ...PRODUCTION, JWT_PUBLIC_KEY_PATH: readable })).toEqual([
      'JWKS_URL and JWT_PUBLIC_KEY_PATH exclude each other: set one',
    ]);
    expect(problemsOf({ ...PRODUCTION, KAFKA_USERNAME: 'app' })).toEqual([
      'KAFKA_SASL_MECHANISM (plain, scram-sha-256, scram-sha-512) is required with KAFKA_USERNAME',
    ]);
  });

  it('does not accept an empty list', () => {
    expect(problemsOf({ ...PRODUCTION, KAFKA_BROKERS: ' , ', REDIS_URL: ',' })).toEqual([
      expect.stringMatching(/^REDIS_URL is required/),
      expect.stringMatching(/^KAFKA_BROKERS is required/),
    ]);
  });

  it('requires brokers only for the role consumer', () => {
    const { KAFKA_BROKERS: _brokers, ...withoutKafka } = PRODUCTION;
    expect(problemsOf(withoutKafka)).toEqual(['KAFKA_BROKERS is required outside dev: host:port, comma separated']);
    expect(readConfig({ ...withoutKafka, ROLES: 'api' }).kafka).toBeUndefined();
  });
});
