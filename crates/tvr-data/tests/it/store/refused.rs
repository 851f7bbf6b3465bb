//! A store on a file system that knows no locks, and on a disk that cannot be synced.

use std::thread;

use super::*;

/// Does `work` on a thread on which the system refuses a call with an error; `false`, said aloud, where it does not let
/// itself be asked so.
fn refusing(call: libc::c_long, error: i32, work: impl FnOnce() + Send) -> bool {
    #[allow(unsafe_code, reason = "no file system that refuses is at hand, so the call itself is refused")]
    fn refuse(call: libc::c_long, error: i32) -> bool {
        let step = |code: u32, jump: u8, value: u32| libc::sock_filter {
            code: code as u16,
            jt: 0,
            jf: jump,
            k: value,
        };
        let mut steps = [
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0), // the call's number
            step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call as u32),
            step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | error as u32),
            step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        let [none, one, by_filter] = [0, 1, libc::SECCOMP_MODE_FILTER as libc::c_ulong];
        // Safety: the filter outlives the call, which copies it and binds this thread alone.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, none, none, none) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, by_filter, &raw const filter) == 0
        }
    }
    let done = thread::scope(|scope| {
        let refused = scope.spawn(|| refuse(call, error).then(work).is_some());
        refused.join().unwrap()
    });
    if !done {
        eprintln!("skipped: this system refuses seccomp");
    }
    done
}

#[test]
fn without_locks_every_writer_has_a_shard_of_its_own_and_nothing_is_collected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    // As NFS says without its lock service.
    let done = refusing(libc::SYS_flock, libc::ENOLCK, || {
        let (mut a, mut b) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
        (put(&mut a, 0), put(&mut b, 1), put(&mut a, 2));
        drop((a, b));
        // Nobody holds the two shards any more, but who could know.
        put(&mut Store::open(&path).unwrap(), 3);
        assert_eq!(shards(&path).len(), 3);
        let error = Store::open(&path).unwrap().collect(&|_| true).unwrap_err().to_string();
        let expected = "lock: cannot be locked on this file system, so another program may be writing; copy the store to \
                        a local disk";
        assert!(error.ends_with(expected), "{error}");
    });
    if !done {
        return;
    }
    let store = Store::open(&path).unwrap();
    for number in 0..4 {
        assert_eq!(store.get(&key(number)).unwrap().unwrap().bytes, values(number), "record {number}");
    }
    assert_eq!(store.collect(&|_| true).unwrap().kept, 4);
}

/// Makes the one record of a store a shard's worth but for 64 bytes, which the next record takes: a hole on the disk.
fn fill(path: &Path) {
    const FULL: u64 = 1 << 30;
    let shard = shards(path).remove(0);
    let index = shard.with_extension("index");
    let mut entry = std::fs::read(&index).unwrap();
    entry[40..48].copy_from_slice(&(FULL - 128).to_le_bytes()); // behind the shard's head
    let sum = crc32fast::hash(&entry[..60]);
    entry[60..].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(index, entry).unwrap();
    std::fs::File::options().write(true).open(shard).unwrap().set_len(FULL - 64).unwrap();
}

#[test]
fn a_full_shard_that_cannot_be_synced_is_an_error_before_the_next_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    put(&mut Store::open(&path).unwrap(), 0);
    fill(&path);
    refusing(libc::SYS_fdatasync, libc::EIO, || {
        let mut store = Store::open(&path).unwrap();
        put(&mut store, 1);
        let value = Value { shape: &[1], bytes: &[1] };
        let error = store.put(key(2), Kind::U8, "", &value).unwrap_err().to_string();
        assert!(error.ends_with("00000.shard: cannot sync: Input/output error (os error 5)"), "{error}");
        assert_eq!(shards(&path).len(), 1);
    });
}

#[test]
fn a_copy_that_cannot_be_synced_is_taken_back_and_what_was_there_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut store = Store::open(&path).unwrap();
    (0..6).for_each(|number| put(&mut store, number));
    drop(store);
    let files = || std::fs::read_dir(path.join("shards")).unwrap().count();
    assert_eq!(files(), 2);
    refusing(libc::SYS_fdatasync, libc::EIO, || {
        let error = Store::open(&path).unwrap().collect(&|_| true).unwrap_err().to_string();
        assert!(error.ends_with("00001.shard: cannot sync: Input/output error (os error 5)"), "{error}");
    });
    assert_eq!(files(), 2, "nothing is left of the copy");
    let store = Store::open(&path).unwrap();
    assert_eq!((store.stat().records, store.stat().doubled), (6, 0));
    assert!(store.verify(&mut |_| {}).is_empty());
}
