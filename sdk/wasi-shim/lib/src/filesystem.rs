//! `wasi:filesystem`: no directory is open, so no file can be opened.

use crate::bindings::exports::wasi::filesystem::{preopens, types};
use crate::{Clock, Random, Shim, impossible};
use types::{
    Advice, DescriptorBorrow, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode,
    MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};

/// An open file or directory. There is none.
pub enum Descriptor {}

/// A directory that is being read. There is none.
pub enum Entries {}

impossible! { types::GuestDescriptor, Descriptor:
    fn read_via_stream(u64) -> Result<types::InputStream, ErrorCode>;
    fn write_via_stream(u64) -> Result<types::OutputStream, ErrorCode>;
    fn append_via_stream() -> Result<types::OutputStream, ErrorCode>;
    fn advise(u64, u64, Advice) -> Result<(), ErrorCode>;
    fn sync_data() -> Result<(), ErrorCode>;
    fn get_flags() -> Result<DescriptorFlags, ErrorCode>;
    fn get_type() -> Result<DescriptorType, ErrorCode>;
    fn set_size(u64) -> Result<(), ErrorCode>;
    fn set_times(NewTimestamp, NewTimestamp) -> Result<(), ErrorCode>;
    fn read(u64, u64) -> Result<(Vec<u8>, bool), ErrorCode>;
    fn write(Vec<u8>, u64) -> Result<u64, ErrorCode>;
    fn read_directory() -> Result<types::DirectoryEntryStream, ErrorCode>;
    fn sync() -> Result<(), ErrorCode>;
    fn create_directory_at(String) -> Result<(), ErrorCode>;
    fn stat() -> Result<DescriptorStat, ErrorCode>;
    fn stat_at(PathFlags, String) -> Result<DescriptorStat, ErrorCode>;
    fn set_times_at(PathFlags, String, NewTimestamp, NewTimestamp) -> Result<(), ErrorCode>;
    fn link_at(PathFlags, String, DescriptorBorrow<'_>, String) -> Result<(), ErrorCode>;
    fn open_at(PathFlags, String, OpenFlags, DescriptorFlags) -> Result<types::Descriptor, ErrorCode>;
    fn readlink_at(String) -> Result<String, ErrorCode>;
    fn remove_directory_at(String) -> Result<(), ErrorCode>;
    fn rename_at(String, DescriptorBorrow<'_>, String) -> Result<(), ErrorCode>;
    fn symlink_at(String, String) -> Result<(), ErrorCode>;
    fn unlink_file_at(String) -> Result<(), ErrorCode>;
    fn is_same_object(DescriptorBorrow<'_>) -> bool;
    fn metadata_hash() -> Result<MetadataHashValue, ErrorCode>;
    fn metadata_hash_at(PathFlags, String) -> Result<MetadataHashValue, ErrorCode>;
}

impossible! { types::GuestDirectoryEntryStream, Entries:
    fn read_directory_entry() -> Result<Option<DirectoryEntry>, ErrorCode>;
}

impl<C: Clock, R: Random> types::Guest for Shim<C, R> {
    type Descriptor = Descriptor;
    type DirectoryEntryStream = Entries;

    fn filesystem_error_code(_: types::ErrorBorrow<'_>) -> Option<ErrorCode> {
        None
    }
}

impl<C: Clock, R: Random> preopens::Guest for Shim<C, R> {
    fn get_directories() -> Vec<(preopens::Descriptor, String)> {
        Vec::new()
    }
}
