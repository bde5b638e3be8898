from tests.publishing.stores import address, s3_endpoint, storage

__all__ = ["address", "s3_endpoint", "storage"]
