//! The closed set of reasons to deny, with the one spelling of each.

/// Why a request was denied. [`DenyReason::code`] is the one spelling, in errors, audit records and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenyReason {
    /// The token could make an administrator.
    AdministratorsNotGranted,
    /// No rule for an attribute's key.
    AttributeNotGranted,
    /// An attribute's value is not of its type.
    AttributeValueNotGranted,
    /// The caller is on the deny list.
    CallerDenied,
    /// The domain of the e-mail address.
    EmailDomainNotGranted,
    /// A group.
    GroupNotGranted,
    /// The lifetime is above the grant's maximum.
    LifetimeTooLong,
    /// Nothing at all is granted to the caller on this instance.
    NoGrant,
    /// An attribute that every token of this caller must have.
    RequiredAttributeMissing,
    /// The caller may issue but not check.
    StatusCheckNotGranted,
    /// The tenant is on the deny list.
    TenantDenied,
    /// The tenant.
    TenantNotGranted,
    /// The identity is proven, but no caller has it.
    UnknownCaller,
    /// The person is on the deny list.
    UserDenied,
}

impl DenyReason {
    /// The spelling.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::AdministratorsNotGranted => "ADMINISTRATORS_NOT_GRANTED",
            Self::AttributeNotGranted => "ATTRIBUTE_NOT_GRANTED",
            Self::AttributeValueNotGranted => "ATTRIBUTE_VALUE_NOT_GRANTED",
            Self::CallerDenied => "CALLER_DENIED",
            Self::EmailDomainNotGranted => "EMAIL_DOMAIN_NOT_GRANTED",
            Self::GroupNotGranted => "GROUP_NOT_GRANTED",
            Self::LifetimeTooLong => "LIFETIME_TOO_LONG",
            Self::NoGrant => "NO_GRANT",
            Self::RequiredAttributeMissing => "REQUIRED_ATTRIBUTE_MISSING",
            Self::StatusCheckNotGranted => "STATUS_CHECK_NOT_GRANTED",
            Self::TenantDenied => "TENANT_DENIED",
            Self::TenantNotGranted => "TENANT_NOT_GRANTED",
            Self::UnknownCaller => "UNKNOWN_CALLER",
            Self::UserDenied => "USER_DENIED",
        }
    }

    /// The key of the grant that denies; none for the deny list and for a caller without a grant.
    #[must_use]
    pub const fn grant_key(self) -> Option<&'static str> {
        match self {
            Self::AdministratorsNotGranted => Some("allow_administrators"),
            Self::AttributeNotGranted | Self::AttributeValueNotGranted => Some("attributes"),
            Self::EmailDomainNotGranted => Some("email_domains"),
            Self::GroupNotGranted => Some("groups"),
            Self::LifetimeTooLong => Some("max_lifetime"),
            Self::RequiredAttributeMissing => Some("required_attributes"),
            Self::StatusCheckNotGranted => Some("may_check_status"),
            Self::TenantNotGranted => Some("tenants"),
            Self::CallerDenied | Self::NoGrant | Self::TenantDenied | Self::UnknownCaller | Self::UserDenied => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::grant::Grant;

    const OF_THE_GRANT: [DenyReason; 9] = [
        DenyReason::AdministratorsNotGranted,
        DenyReason::AttributeNotGranted,
        DenyReason::AttributeValueNotGranted,
        DenyReason::EmailDomainNotGranted,
        DenyReason::GroupNotGranted,
        DenyReason::LifetimeTooLong,
        DenyReason::RequiredAttributeMissing,
        DenyReason::StatusCheckNotGranted,
        DenyReason::TenantNotGranted,
    ];
    const OTHERS: [DenyReason; 5] = [
        DenyReason::CallerDenied,
        DenyReason::NoGrant,
        DenyReason::TenantDenied,
        DenyReason::UnknownCaller,
        DenyReason::UserDenied,
    ];

    #[test]
    fn the_spelling_is_the_name_in_capitals() {
        for reason in OF_THE_GRANT.into_iter().chain(OTHERS) {
            let name = reason.code().replace('_', "");
            assert_eq!(name, format!("{reason:?}").to_uppercase());
            assert_eq!(reason.code().split('_').count(), format!("{reason:?}").matches(char::is_uppercase).count());
        }
    }

    #[test]
    fn what_the_grant_denies_is_denied_by_one_of_its_keys() {
        let grant = format!("{:?}", Grant::default());
        for reason in OF_THE_GRANT {
            let key = reason.grant_key().unwrap();
            assert!([" { ", ", "].iter().any(|before| grant.contains(&format!("{before}{key}: "))), "{key} in {grant}");
        }
        assert!(OTHERS.iter().all(|reason| reason.grant_key().is_none()));
    }
}
