//! Error numbers → names, as Linux numbers them on x86-64 and arm64.

/// Greatest number that a system call returns as an error.
const ERRNO_MAX: i64 = 4_095;

/// By number; empty where there is none.
const NAMES: [&str; 134] = [
    "",
    "EPERM",
    "ENOENT",
    "ESRCH",
    "EINTR",
    "EIO",
    "ENXIO",
    "E2BIG",
    "ENOEXEC",
    "EBADF",
    "ECHILD",
    "EAGAIN",
    "ENOMEM",
    "EACCES",
    "EFAULT",
    "ENOTBLK",
    "EBUSY",
    "EEXIST",
    "EXDEV",
    "ENODEV",
    "ENOTDIR",
    "EISDIR",
    "EINVAL",
    "ENFILE",
    "EMFILE",
    "ENOTTY",
    "ETXTBSY",
    "EFBIG",
    "ENOSPC",
    "ESPIPE",
    "EROFS",
    "EMLINK",
    "EPIPE",
    "EDOM",
    "ERANGE",
    "EDEADLK",
    "ENAMETOOLONG",
    "ENOLCK",
    "ENOSYS",
    "ENOTEMPTY",
    "ELOOP",
    "",
    "ENOMSG",
    "EIDRM",
    "ECHRNG",
    "EL2NSYNC",
    "EL3HLT",
    "EL3RST",
    "ELNRNG",
    "EUNATCH",
    "ENOCSI",
    "EL2HLT",
    "EBADE",
    "EBADR",
    "EXFULL",
    "ENOANO",
    "EBADRQC",
    "EBADSLT",
    "",
    "EBFONT",
    "ENOSTR",
    "ENODATA",
    "ETIME",
    "ENOSR",
    "ENONET",
    "ENOPKG",
    "EREMOTE",
    "ENOLINK",
    "EADV",
    "ESRMNT",
    "ECOMM",
    "EPROTO",
    "EMULTIHOP",
    "EDOTDOT",
    "EBADMSG",
    "EOVERFLOW",
    "ENOTUNIQ",
    "EBADFD",
    "EREMCHG",
    "ELIBACC",
    "ELIBBAD",
    "ELIBSCN",
    "ELIBMAX",
    "ELIBEXEC",
    "EILSEQ",
    "ERESTART",
    "ESTRPIPE",
    "EUSERS",
    "ENOTSOCK",
    "EDESTADDRREQ",
    "EMSGSIZE",
    "EPROTOTYPE",
    "ENOPROTOOPT",
    "EPROTONOSUPPORT",
    "ESOCKTNOSUPPORT",
    "EOPNOTSUPP",
    "EPFNOSUPPORT",
    "EAFNOSUPPORT",
    "EADDRINUSE",
    "EADDRNOTAVAIL",
    "ENETDOWN",
    "ENETUNREACH",
    "ENETRESET",
    "ECONNABORTED",
    "ECONNRESET",
    "ENOBUFS",
    "EISCONN",
    "ENOTCONN",
    "ESHUTDOWN",
    "ETOOMANYREFS",
    "ETIMEDOUT",
    "ECONNREFUSED",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "EALREADY",
    "EINPROGRESS",
    "ESTALE",
    "EUCLEAN",
    "ENOTNAM",
    "ENAVAIL",
    "EISNAM",
    "EREMOTEIO",
    "EDQUOT",
    "ENOMEDIUM",
    "EMEDIUMTYPE",
    "ECANCELED",
    "ENOKEY",
    "EKEYEXPIRED",
    "EKEYREVOKED",
    "EKEYREJECTED",
    "EOWNERDEAD",
    "ENOTRECOVERABLE",
    "ERFKILL",
    "EHWPOISON",
];

/// What `evt.res` says of a result: `SUCCESS`, or the error's name. A number without a name is `UNKNOWN`.
pub(crate) fn result_name(result: i64) -> &'static str {
    if is_error(result) { error_name(result).unwrap_or("UNKNOWN") } else { "SUCCESS" }
}

/// The name of the error that a result stands for. `None`: it stands for none, or for one without a name.
pub(crate) fn error_name(result: i64) -> Option<&'static str> {
    let number = usize::try_from(result.unsigned_abs()).ok().filter(|_| is_error(result))?;
    NAMES.get(number).copied().filter(|name| !name.is_empty())
}

/// An address or a size may have its top bit set and is none.
fn is_error(result: i64) -> bool {
    (-ERRNO_MAX..0).contains(&result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_their_names() {
        let table = [(0, "SUCCESS"), (3, "SUCCESS"), (-1, "EPERM"), (-2, "ENOENT"), (-13, "EACCES"), (-40, "ELOOP")];
        for (result, name) in table {
            assert_eq!(result_name(result), name);
        }
        assert_eq!(
            (result_name(-111), result_name(-115), result_name(-133)),
            ("ECONNREFUSED", "EINPROGRESS", "EHWPOISON")
        );
    }

    #[test]
    fn numbers_without_a_name_do_not_panic() {
        for result in [-41, -58, -134, -4_095, -4_096, i64::MIN] {
            assert!(!result_name(result).is_empty());
        }
    }
}
