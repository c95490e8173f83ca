//! Rule "Find AWS Credentials": grep and find look for them.
//! Near misses: they look beside them; another program has the same words.

use crate::container::Layout;
use crate::technique::Technique;

const RULE: &str = "Find AWS Credentials";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("find-aws-credentials", RULE, |stage| {
        stage.become_program("find", &["/", "-path", "*/.aws/credentials"])
    }),
    Technique::fires("grep-aws-keys", RULE, |stage| {
        stage.become_program("egrep", &["-ri", "AWS_SECRET_access_key", "/"])
    })
    .within(Layout::DockerCgroupfs),
    Technique::near_miss("find-aws-settings", RULE, |stage| {
        stage.become_program("find", &["/", "-path", "*/.aws/config"])
    }),
    Technique::near_miss("find-aws-credentials-not-last", RULE, |stage| {
        stage.become_program("find", &["/", "-path", "*/.aws/credentials", "-print0"])
    }),
    Technique::near_miss("print-aws-keys", RULE, |stage| stage.become_program("printenv", &["AWS_SECRET_ACCESS_KEY"])),
];
