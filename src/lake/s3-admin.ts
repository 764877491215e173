import {
  AbortMultipartUploadCommand,
  BucketLocationConstraint,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  GetBucketTaggingCommand,
  GetBucketVersioningCommand,
  ListBucketsCommand,
  type ListBucketsCommandOutput,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  ListObjectVersionsCommand,
  type ObjectIdentifier,
  PutBucketTaggingCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { ParityError } from '../support/error.ts';
import { log } from '../support/log.ts';
import type { S3Location } from './location.ts';
import { Requests } from './requests.ts';
import { s3Client, s3Error, secretCredentials } from './s3-client.ts';

/** A bucket of a run's own, or the part of a shared one under a prefix: making it, and leaving nothing of it. Only for workspaces. */
export interface BucketAdmin {
  readonly client: S3Client;
  readonly location: S3Location;
}

/** The administrator of a location, with the workspace's identity. */
export function bucketAdmin(location: S3Location, secret: Readonly<Record<string, string>> | undefined): BucketAdmin {
  return { location, client: s3Client(location, secretCredentials(secret, location), new Requests()) };
}

/** Makes the bucket; one that is there already and is ours is no error. */
export async function createBucket(admin: BucketAdmin): Promise<void> {
  const { bucket, region, endpoint } = admin.location;
  // AWS takes no constraint for its first region, and needs one for each other.
  const needsRegion = endpoint === undefined && region !== 'us-east-1';
  await tell(admin, 'Creating', async () => {
    try {
      await admin.client.send(
        new CreateBucketCommand({
          Bucket: bucket,
          ...(needsRegion ? { CreateBucketConfiguration: { LocationConstraint: bucketRegion(region) } } : {}),
        }),
      );
    } catch (error) {
      if (!isNamed(error, 'BucketAlreadyOwnedByYou')) throw error;
    }
  });
}

/** Gives the bucket these tags, and no others. */
export async function tagBucket(admin: BucketAdmin, tags: Readonly<Record<string, string>>): Promise<void> {
  const { bucket } = admin.location;
  await tell(admin, 'Tagging', async () => {
    const TagSet = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
    await admin.client.send(new PutBucketTaggingCommand({ Bucket: bucket, Tagging: { TagSet } }));
  });
}

/** Names of all buckets of these credentials. */
export async function bucketNames(admin: BucketAdmin): Promise<readonly string[]> {
  return await tell(admin, 'Listing the buckets beside', async () => {
    const names: string[] = [];
    for (let next: string | undefined = ''; next !== undefined; ) {
      const page: ListBucketsCommandOutput = await admin.client.send(
        new ListBucketsCommand(next === '' ? {} : { ContinuationToken: next }),
      );
      names.push(...(page.Buckets ?? []).flatMap(({ Name }) => Name ?? []));
      next = page.ContinuationToken;
    }
    return names;
  });
}

/** Names of what lies directly under the location and has something below it. */
export async function folderNames(admin: BucketAdmin): Promise<readonly string[]> {
  const { bucket, root } = admin.location;
  const prefix = root === '' ? '' : `${root}/`;
  return await tell(admin, 'Listing', async () => {
    const names: string[] = [];
    for (let next: string | undefined = ''; next !== undefined; ) {
      const page: ListObjectsV2CommandOutput = await admin.client.send(
        new ListObjectsV2Command({
          Bucket: bucket,
          Prefix: prefix,
          Delimiter: '/',
          ...(next === '' ? {} : { ContinuationToken: next }),
        }),
      );
      names.push(...(page.CommonPrefixes ?? []).flatMap(({ Prefix = '' }) => Prefix.slice(prefix.length, -1)));
      next = page.NextContinuationToken;
    }
    return names;
  });
}

/** The bucket's tags; empty where it has none, undefined where there is no such bucket. */
export async function bucketTags(admin: BucketAdmin): Promise<Readonly<Record<string, string>> | undefined> {
  return await tell(admin, 'Reading the tags of', async () => {
    try {
      const { TagSet = [] } = await admin.client.send(new GetBucketTaggingCommand({ Bucket: admin.location.bucket }));
      return Object.fromEntries(TagSet.flatMap(({ Key, Value }) => (Key === undefined ? [] : [[Key, Value ?? '']])));
    } catch (error) {
      if (isNamed(error, 'NoSuchBucket')) return undefined;
      if (isNamed(error, 'NoSuchTagSet', 'NoSuchTagSetError')) return {};
      throw error;
    }
  });
}

/**
 * Deletes everything under the location: objects, and where the bucket is versioned all versions and delete markers; open multipart
 * uploads too. `keep` names one key (relative to the location) that stays. Pages, and checks each key's own error: throws
 * `CleanupIncomplete` naming the first that stayed.
 */
export async function emptyBucket(
  admin: BucketAdmin,
  options: { keep?: string; signal?: AbortSignal } = {},
): Promise<void> {
  const prefix = admin.location.root === '' ? '' : `${admin.location.root}/`;
  const kept = options.keep === undefined ? undefined : `${prefix}${options.keep}`;
  await tell(admin, 'Emptying', async () => {
    await abortUploads(admin, prefix);
    const pages = (await isVersioned(admin)) ? versionPages(admin, prefix) : objectPages(admin, prefix);
    for await (const page of pages) {
      options.signal?.throwIfAborted();
      await deleteObjects(
        admin,
        page.filter(({ Key }) => Key !== kept),
      );
    }
  });
}

/** Deletes the empty bucket; one that is gone is no error. */
export async function deleteBucket(admin: BucketAdmin): Promise<void> {
  await tell(admin, 'Deleting', async () => {
    try {
      await admin.client.send(new DeleteBucketCommand({ Bucket: admin.location.bucket }));
    } catch (error) {
      if (!isNamed(error, 'NoSuchBucket')) throw error;
    }
  });
}

function bucketRegion(region: string): BucketLocationConstraint {
  const known = Object.values(BucketLocationConstraint).find((name) => name === region);
  if (known !== undefined) return known;
  throw new ParityError('InvalidSpec', `the region "${region}" is not one where a bucket can be made`, {
    advice: 'Set the region beside the workspace location, e.g. eu-central-1.',
  });
}

/** Whether anything at all lies under the location; a missing bucket holds nothing. */
export async function isEmpty(admin: BucketAdmin): Promise<boolean> {
  const prefix = admin.location.root === '' ? '' : `${admin.location.root}/`;
  return await tell(admin, 'Listing', async () => {
    try {
      const request = new ListObjectsV2Command({ Bucket: admin.location.bucket, Prefix: prefix, MaxKeys: 1 });
      return ((await admin.client.send(request)).Contents ?? []).length === 0;
    } catch (error) {
      if (isNamed(error, 'NoSuchBucket')) return true;
      throw error;
    }
  });
}

async function isVersioned(admin: BucketAdmin): Promise<boolean> {
  try {
    const { Status } = await admin.client.send(new GetBucketVersioningCommand({ Bucket: admin.location.bucket }));
    // A bucket whose versioning was suspended still holds the versions from before.
    return Status !== undefined;
  } catch (error) {
    log.warn('the bucket does not say whether it keeps versions; only current objects are deleted', { error });
    return false;
  }
}

/**
 * Each page is listed anew from the start of what is left, except past what stays: deleting while paging by token is allowed by S3
 * but not by every server that speaks its protocol.
 */
async function* objectPages(admin: BucketAdmin, prefix: string): AsyncGenerator<ObjectIdentifier[]> {
  let token: string | undefined;
  do {
    const page = await admin.client.send(
      new ListObjectsV2Command({
        Bucket: admin.location.bucket,
        Prefix: prefix,
        ...(token === undefined ? {} : { StartAfter: token }),
      }),
    );
    const keys = (page.Contents ?? []).flatMap(({ Key }) => (Key === undefined ? [] : [Key]));
    yield keys.map((Key) => ({ Key }));
    token = page.IsTruncated === true ? keys.at(-1) : undefined;
  } while (token !== undefined);
}

async function* versionPages(admin: BucketAdmin, prefix: string): AsyncGenerator<ObjectIdentifier[]> {
  let next: { KeyMarker?: string; VersionIdMarker?: string } | undefined = {};
  while (next !== undefined) {
    const page: VersionPage = await admin.client.send(
      new ListObjectVersionsCommand({ Bucket: admin.location.bucket, Prefix: prefix, ...next }),
    );
    yield [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])].flatMap(({ Key, VersionId }) =>
      Key === undefined ? [] : [{ Key, ...(VersionId === undefined ? {} : { VersionId }) }],
    );
    next = page.IsTruncated === true ? markers(page) : undefined;
  }
}

interface VersionPage {
  Versions?: { Key?: string | undefined; VersionId?: string | undefined }[] | undefined;
  DeleteMarkers?: { Key?: string | undefined; VersionId?: string | undefined }[] | undefined;
  IsTruncated?: boolean | undefined;
  NextKeyMarker?: string | undefined;
  NextVersionIdMarker?: string | undefined;
}

function markers({ NextKeyMarker, NextVersionIdMarker }: VersionPage) {
  return {
    ...(NextKeyMarker === undefined ? {} : { KeyMarker: NextKeyMarker }),
    ...(NextVersionIdMarker === undefined ? {} : { VersionIdMarker: NextVersionIdMarker }),
  };
}

async function deleteObjects(admin: BucketAdmin, objects: readonly ObjectIdentifier[]): Promise<void> {
  // The protocol takes 1,000 a request; a page of versions with its delete markers may hold more.
  for (let from = 0; from < objects.length; from += 1000) {
    const { Errors = [] } = await admin.client.send(
      new DeleteObjectsCommand({
        Bucket: admin.location.bucket,
        Delete: { Objects: objects.slice(from, from + 1000), Quiet: true },
      }),
    );
    const failed = Errors.filter(({ Code }) => Code !== 'NoSuchKey' && Code !== 'NoSuchVersion');
    const [first] = failed;
    if (first === undefined) continue;
    throw new ParityError(
      'CleanupIncomplete',
      `deleting from ${name(admin)}: ${failed.length} objects stayed, the first is "${first.Key}" (${first.Code}: ${first.Message})`,
      { isRetryable: first.Code === 'InternalError' || first.Code === 'SlowDown' },
    );
  }
}

/** Parts of uploads that were killed half-way are billed and keep a bucket from being deleted. */
async function abortUploads(admin: BucketAdmin, prefix: string): Promise<void> {
  const { bucket: Bucket } = admin.location;
  for (;;) {
    const Uploads = await openUploads(admin, prefix);
    const found = Uploads.flatMap(({ Key, UploadId }) =>
      Key === undefined || UploadId === undefined || !Key.startsWith(prefix) ? [] : [{ Key, UploadId }],
    );
    if (found.length === 0) return;
    for (const upload of found) {
      try {
        await admin.client.send(new AbortMultipartUploadCommand({ Bucket, ...upload }));
      } catch (error) {
        if (!isNamed(error, 'NoSuchUpload')) throw error;
      }
    }
    // Fewer than a page: the list had no more, and listing again would only wait for the server to forget them.
    if (found.length < 1000) return;
  }
}

async function openUploads({ client, location }: BucketAdmin, prefix: string) {
  try {
    const request = new ListMultipartUploadsCommand({ Bucket: location.bucket, Prefix: prefix });
    return (await client.send(request)).Uploads ?? [];
  } catch (error) {
    // In a shared bucket the right to see uploads is not always given; that must not keep the objects from going.
    if (location.root === '' || !isNamed(error, 'AccessDenied', 'NotImplemented')) throw error;
    log.warn("open uploads cannot be listed; the bucket's lifecycle rules have to end them", {
      bucket: location.bucket,
      error,
    });
    return [];
  }
}

async function tell<T>(admin: BucketAdmin, doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw s3Error(error, doing, name(admin), admin.location);
  }
}

function name({ location }: BucketAdmin): string {
  return location.root === '' ? `s3://${location.bucket}` : `s3://${location.bucket}/${location.root}`;
}

function isNamed(error: unknown, ...names: readonly string[]): boolean {
  return error instanceof Error && names.includes(error.name);
}
