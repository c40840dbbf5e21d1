//! Folders to Config: loads, watches, keeps the last good version of each file, publishes the next Config.
