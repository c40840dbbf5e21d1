//! Secrets by name: `$CREDENTIALS_DIRECTORY/NAME`, else `secrets.d/NAME`; an absolute path is itself.
