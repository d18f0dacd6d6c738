#include "tests/net/tls/certificates.h"

#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace coil_testing {
namespace {

using coil::net::internal::BioPtr;
using coil::net::internal::FreeWith;
using coil::net::internal::TakeOpensslErrors;

void Check(bool ok, const char* what) {
  if (!ok) {
    throw std::runtime_error(std::string(what) + ": " + TakeOpensslErrors());
  }
}

void AddExtension(X509* certificate, X509* issuer, int nid,
                  const std::string& value) {
  if (value.empty()) return;
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  Check(extension != nullptr, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

void AddRawDnsName(X509* certificate, const std::string& name) {
  GENERAL_NAMES* names = sk_GENERAL_NAME_new_null();
  GENERAL_NAME* general = GENERAL_NAME_new();
  ASN1_IA5STRING* text = ASN1_IA5STRING_new();
  ASN1_STRING_set(text, name.data(), static_cast<int>(name.size()));
  GENERAL_NAME_set0_value(general, GEN_DNS, text);
  sk_GENERAL_NAME_push(names, general);
  Check(X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0) == 1,
        "a raw name");
  GENERAL_NAMES_free(names);
}

std::string Contents(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

}  // namespace

Certificate::Certificate(const CertificateSpec& spec,
                         const Certificate* issuer) {
  key_.reset(spec.rsa_bits != 0
                 ? EVP_RSA_gen(static_cast<unsigned>(spec.rsa_bits))
                 : EVP_EC_gen("P-256"));
  Check(key_ != nullptr, "a key");
  certificate_.reset(X509_new());
  X509* made = certificate_.get();
  X509_set_version(made, spec.version - 1);
  static int serial = 1;
  ASN1_INTEGER_set(X509_get_serialNumber(made), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(made), spec.begins_in);
  X509_gmtime_adj(X509_getm_notAfter(made), spec.ends_in);
  X509_set_pubkey(made, key_.get());
  X509_NAME_add_entry_by_txt(
      X509_get_subject_name(made), "CN", MBSTRING_UTF8,
      reinterpret_cast<const unsigned char*>(spec.common_name.data()),
      static_cast<int>(spec.common_name.size()), -1, 0);
  X509* signer = issuer != nullptr ? issuer->x509() : made;
  X509_set_issuer_name(made, X509_get_subject_name(signer));
  if (spec.version == 3) {
    AddExtension(made, signer, NID_basic_constraints, spec.basic_constraints);
    AddExtension(made, signer, NID_key_usage, spec.key_usage);
    AddExtension(made, signer, NID_ext_key_usage, spec.extended_key_usage);
    AddExtension(made, signer, NID_name_constraints, spec.name_constraints);
    AddExtension(made, signer, NID_subject_alt_name, spec.alternative_names);
    AddExtension(made, signer, NID_subject_key_identifier, "hash");
    if (!spec.raw_dns_name.empty()) AddRawDnsName(made, spec.raw_dns_name);
    if (spec.critical_unknown_extension) {
      ASN1_OBJECT* object = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
      ASN1_OCTET_STRING* data = ASN1_OCTET_STRING_new();
      ASN1_OCTET_STRING_set(data, reinterpret_cast<const unsigned char*>("x"),
                            1);
      X509_EXTENSION* extension =
          X509_EXTENSION_create_by_OBJ(nullptr, object, 1, data);
      X509_add_ext(made, extension, -1);
      X509_EXTENSION_free(extension);
      ASN1_OCTET_STRING_free(data);
      ASN1_OBJECT_free(object);
    }
  }
  EVP_PKEY* signing = issuer != nullptr ? issuer->key() : key_.get();
  Check(X509_sign(made, signing, EVP_get_digestbyname(spec.digest.c_str())) > 0,
        "to sign");
  if (spec.forged) {
    // The same with another serial number, under the old signature.
    const ASN1_BIT_STRING* signature = nullptr;
    X509_get0_signature(&signature, nullptr, made);
    auto* bytes = const_cast<ASN1_BIT_STRING*>(signature);
    bytes->data[bytes->length - 1] ^= 1;
  }
}

std::string Certificate::Pem() const {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  Check(PEM_write_bio_X509(bio.get(), certificate_.get()) == 1, "PEM");
  return Contents(bio.get());
}

std::string Certificate::KeyPem(const std::string& password) const {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  const EVP_CIPHER* cipher = password.empty() ? nullptr : EVP_aes_128_cbc();
  Check(PEM_write_bio_PrivateKey(
            bio.get(), key_.get(), cipher,
            reinterpret_cast<const unsigned char*>(password.data()),
            static_cast<int>(password.size()), nullptr, nullptr) == 1,
        "PEM of a key");
  return Contents(bio.get());
}

std::string Certificate::CrlPem(
    const std::vector<const Certificate*>& revoked) const {
  const std::unique_ptr<X509_CRL, FreeWith<X509_CRL_free>> crl(X509_CRL_new());
  X509_CRL_set_version(crl.get(), 1);
  X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(x509()));
  ASN1_TIME* time = ASN1_TIME_new();
  X509_gmtime_adj(time, -3600);
  X509_CRL_set1_lastUpdate(crl.get(), time);
  X509_gmtime_adj(time, 3600);
  X509_CRL_set1_nextUpdate(crl.get(), time);
  for (const Certificate* certificate : revoked) {
    X509_REVOKED* entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry,
                                  X509_get_serialNumber(certificate->x509()));
    X509_gmtime_adj(time, -1800);
    X509_REVOKED_set_revocationDate(entry, time);
    X509_CRL_add0_revoked(crl.get(), entry);
  }
  ASN1_TIME_free(time);
  X509_CRL_sort(crl.get());
  Check(X509_CRL_sign(crl.get(), key(), EVP_sha256()) > 0, "to sign a CRL");
  const BioPtr bio(BIO_new(BIO_s_mem()));
  Check(PEM_write_bio_X509_CRL(bio.get(), crl.get()) == 1, "PEM of a CRL");
  return Contents(bio.get());
}

CertificateSpec AuthoritySpec(const std::string& name) {
  CertificateSpec spec;
  spec.common_name = name;
  spec.alternative_names = "";
  spec.basic_constraints = "critical,CA:TRUE";
  spec.key_usage = "critical,keyCertSign,cRLSign";
  spec.extended_key_usage = "";
  return spec;
}

TemporaryFolder::TemporaryFolder() {
  const char* base = std::getenv("TEST_TMPDIR");
  path_ = std::string(base != nullptr ? base : P_tmpdir) + "/coil_tls_XXXXXX";
  if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error(path_);
}

TemporaryFolder::~TemporaryFolder() {
  for (const std::string& file : files_) ::unlink(file.c_str());
  ::rmdir(path_.c_str());
}

std::string TemporaryFolder::Write(const std::string& name,
                                   const std::string& contents) {
  std::string path = path_ + "/" + name;
  std::ofstream(path) << contents;
  files_.push_back(path);
  return path;
}

}  // namespace coil_testing
