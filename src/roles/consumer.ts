import { eventRoutes } from '../../consumers/http.ts';
import type { Control } from '../../consumers/inputs.ts';
import { startKafkaConsumer } from '../../consumers/kafka.ts';
import type { CleanupStack } from '../cleanup.ts';
import type { Config } from '../config.ts';
import type { HttpServer } from '../http-server.ts';
import type { Authenticate } from '../identity/verify.ts';
import type { Intake } from '../intake/intake.ts';
import type { Log } from '../log.ts';
import type { Checks } from '../observability/health.ts';

export interface ConsumerRoleOptions {
  config: Config;
  intake: Intake;
  control: Control;
  authenticate: Authenticate;
  /** Receives the readiness check of Kafka. */
  checks: Checks;
  log: Log;
}

/** Starts the role `consumer`: events over HTTP, and from Kafka if brokers are configured. */
export async function startConsumerRole(
  app: HttpServer,
  { config, intake, control, authenticate, checks, log }: ConsumerRoleOptions,
  parts: CleanupStack,
): Promise<void> {
  if (config.kafka) {
    const { kafka, pubsubTopic } = config;
    const consumer = startKafkaConsumer({ config: kafka, pubsubTopic, intake, control, log });
    parts.defer(() => consumer.close());
    checks['kafka'] = () => consumer.ping();
  }
  await app.register(eventRoutes, { authenticate, intake, control, log });
}
